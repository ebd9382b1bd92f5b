"""What each model says of the rows, in the terms of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace_common.evaluation import Task
from headrace_common.protocol.evaluate import EvaluationData
from headrace_trainer.evaluation import labels
from headrace_trainer.evaluation.artifact import outputs, predict
from headrace_trainer.evaluation.artifact.feed import columns_of, fed
from headrace_trainer.evaluation.artifact.kind import Artifact, Tensor
from headrace_trainer.evaluation.artifact.outputs import Kind
from headrace_trainer.evaluation.refusal import Refusal, UnreadableData
from headrace_trainer.evaluation.rows import Items, Rows
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.kind import Answers
from headrace_trainer.evaluation.tasks.ranking import Ranked, values_of_groups
from headrace_trainer.evaluation.tasks.regression import Predicted
from headrace_trainer.evaluation.tasks.text_generation import Generated, sums_of

Array = np.ndarray[Any, np.dtype[Any]]
_TEXT_ROWS = 16  # a vocabulary's probabilities for each place of each text


@dataclass(frozen=True)
class Said:
    """One model's answers. `output` is which of its outputs was judged, and `kind` what numbers it has; `inputs` are
    the columns that each of its inputs was made of; `classes` what its probabilities are of.
    """

    answers: Answers
    output: str
    kind: str
    inputs: Mapping[str, Sequence[str]]
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass
class Asking:
    """One artifact and the rows it is asked about."""

    artifact: Artifact
    data: EvaluationData
    rows: Rows
    told: Callable[[int], None]
    inputs: Mapping[str, Sequence[str]] = field(init=False)
    feed: dict[str, Array] = field(init=False)
    output: Tensor = field(init=False)

    def __post_init__(self) -> None:
        table = self.rows.table
        self.inputs = columns_of(self.artifact.inputs, self.data.inputs, table, self.rows.taken)
        table.same_rows([self.data.label, *(name for names in self.inputs.values() for name in names)])
        self.feed = {one.name: fed(one, self.inputs[one.name], table, self.data.inputs) for one in self.artifact.inputs}
        self.output = outputs.chosen(self.artifact.outputs, self.data.output)

    def batches(self, most: int = 256) -> Any:
        """Pairs of the first row's number and the answers, all of them numbers, or texts."""
        at_once, start = predict.batch_rows(self.artifact, self.feed, most), 0
        for values in predict.answers(self.artifact, self.feed, self.output.name, at_once, self.told):
            predict.check_finite(values, start, self.output.name)
            yield start, values
            start += len(values)

    def all(self) -> Array:
        return np.concatenate([values for _, values in self.batches()])


def classified(asking: Asking, positive: str, *, may_lack_some: bool = False) -> Said:
    """`may_lack_some`: that it does not know a class is its fault, and not that of the data. Raises Refusal."""
    values, rows = asking.all(), asking.rows
    if not asking.output.is_float:
        return _named(asking, values, positive, may_lack_some=may_lack_some)
    if values.ndim > 2:
        raise Refusal(
            f"the model's output {asking.output} has more than a number a class, and the task is Classification",
            "Use task: TextGeneration for a class at each place of a text, or name another output.",
        )
    if 0 in values.shape[1:]:
        raise Refusal(
            f"the model's output {asking.output} has no number a class", "Name another output in evaluate.data.output."
        )
    kind = outputs.kind_of(values, by_class=values.ndim == 2 and values.shape[1] > 1)
    given = outputs.probabilities(values, kind)
    texts = labels.texts_of(rows.label, rows.table.where)
    there = sorted(set(map(str, texts)))
    names, remark = labels.names_of(given.shape[1], asking.artifact.classes, there, may_lack_some=may_lack_some)
    if not may_lack_some:
        labels.check_known(texts, names, rows.table.where)
    answers = Classified(
        labels.numbers_of(texts, names),
        given.argmax(axis=1),
        given.astype(np.float32),
        rows.weights,
        len(names),
        _positive(positive, names, may_lack=may_lack_some),
        is_named=bool(positive),
    )
    return Said(answers, asking.output.name, kind, asking.inputs, names, (remark,) if remark else ())


def _named(asking: Asking, values: Array, positive: str, *, may_lack_some: bool) -> Said:
    """Of a model that names classes alone."""
    said, where = labels.texts_of(values, "the model"), asking.rows.table.where
    texts = labels.texts_of(asking.rows.label, where)
    if asking.artifact.classes and not may_lack_some:
        labels.check_known(texts, asking.artifact.classes, where)
    labels.check_comparable(said, texts, where)
    every = set(map(str, said)) | set(map(str, texts)) | set(asking.artifact.classes)
    names = tuple(sorted(every, key=lambda name: (len(name), name) if name.isdecimal() else (0, name)))
    answers = Classified(
        labels.numbers_of(texts, names),
        labels.numbers_of(said, names),
        None,
        asking.rows.weights,
        len(names),
        _positive(positive, names, may_lack=may_lack_some),
        is_named=bool(positive),
    )
    remark = "The model names a class and no probabilities: what needs these is not measured."
    return Said(answers, asking.output.name, Kind.CLASSES, asking.inputs, names, (remark,))


def _positive(wanted: str, names: Sequence[str], *, may_lack: bool = False) -> int:
    """Of a model that may lack it any: its answers are put in terms of the other's classes (`aligned`)."""
    if wanted and wanted not in names:
        if may_lack:
            return 0
        raise Refusal(
            f"evaluate.data.positive is {wanted!r}, and the classes are {', '.join(names)}",
            "Name one of the classes in evaluate.data.positive.",
        )
    return names.index(wanted) if wanted else len(names) - 1


def aligned(said: Said, names: tuple[str, ...], rows: Rows, positive: str, known: int) -> Said:
    """The same answers, in terms of these classes: two models may know different ones. The one that is judged knows
    so many.
    """
    answers = said.answers
    if not isinstance(answers, Classified):
        raise RuntimeError("only classes are aligned")
    place = np.array([names.index(name) for name in said.classes])
    given = answers.probabilities
    if given is not None:
        whole = np.zeros((len(given), len(names)), dtype=given.dtype)
        whole[:, place] = given
        given = whole
    texts = labels.texts_of(rows.label, rows.table.where)
    moved = Classified(
        labels.numbers_of(texts, names),
        place[answers.predicted],
        given,
        rows.weights,
        len(names),
        _positive(positive, names),
        known,
        answers.is_named,
    )
    return Said(moved, said.output, said.kind, said.inputs, names, said.remarks)


def predicted(asking: Asking) -> Said:
    """Raises Refusal where the model gives other numbers than the label has."""
    label, values = _numeric_label(asking), asking.all()
    given = values.reshape(len(values), -1).astype(np.float64) if values.dtype.kind in "iufb" else None
    truth = label.reshape(len(label), -1).astype(np.float64)
    if given is None or given.shape != truth.shape:
        raise Refusal(
            f"the model's output {asking.output} is not of the label's shape, {list(truth.shape[1:])} a row",
            "Name another output in evaluate.data.output, or another column in evaluate.data.label.",
        )
    return Said(Predicted(truth, given, asking.rows.weights), asking.output.name, "numbers", asking.inputs)


def ranked(asking: Asking, items: Items) -> Said:
    """Raises Refusal where there is no score for each row."""
    label, values, groups = _numeric_label(asking), asking.all(), asking.rows.groups
    scores = values.reshape(len(values), -1)
    if scores.shape[1] == 2 and asking.output.is_float:
        scores = scores[:, 1:]  # the probability that it is relevant
    if label.ndim > 2 or label.reshape(len(label), -1).shape[1] != 1 or scores.shape[1] != 1 or groups is None:
        raise Refusal(
            f"the model's output {asking.output} has no single score for each row",
            "Name an output with one number a row in evaluate.data.output.",
        )
    gains = label.reshape(-1).astype(np.float64)
    if gains.min() < 0:
        raise UnreadableData(
            f"{asking.rows.table.where}: labels are below 0, and are to say how relevant a row is",
            "Write 0 for what is not relevant, and more for what is.",
        )
    found = values_of_groups(groups, gains, scores.reshape(-1).astype(np.float64))
    return Said(Ranked(found, items.weights), asking.output.name, "scores", asking.inputs)


def _numeric_label(asking: Asking) -> Array:
    label = asking.rows.label
    if label.dtype.kind not in "iufb" or (label.dtype.kind == "f" and not np.isfinite(label).all()):
        raise UnreadableData(
            f"{asking.rows.table.where}: the labels are not all finite numbers",
            "Write numbers, or use task: Classification for classes.",
        )
    return label


def generated(asking: Asking) -> Said:
    """Raises Refusal where the output has no probabilities for each place of the label."""
    label = _numeric_label(asking)
    tokens = label.reshape(len(label), -1)
    if tokens.dtype.kind == "f" and not np.all(tokens == np.floor(tokens)):
        raise UnreadableData(
            f"{asking.rows.table.where}: the labels are broken numbers, and no tokens", "Write whole numbers."
        )
    tokens, counts = tokens.astype(np.int64), tokens >= 0
    if not counts.any():
        raise UnreadableData(
            f"{asking.rows.table.where}: no token counts, all of them are below 0", "Write the tokens that come next."
        )
    parts: list[Array] = []
    kind, vocabulary = Kind.PROBABILITIES, 0
    for start, values in asking.batches(_TEXT_ROWS):
        given = values[:, None, :] if values.ndim == 2 else values
        here = slice(start, start + len(values))
        if given.ndim != 3 or given.shape[:2] != tokens[here].shape:
            raise Refusal(
                f"the model's output {asking.output} has the shape {list(values.shape[1:])} a row, and the label has "
                f"{tokens.shape[1]} tokens a row",
                "The label has the token that comes after each place: as many as the output has places; or one, where "
                "the output is of the last place alone.",
            )
        if not start:
            kind, vocabulary = outputs.kind_of(given, by_class=True), given.shape[2]
        if tokens[here].max() >= vocabulary:
            raise UnreadableData(
                f"{asking.rows.table.where}: tokens are beyond the model's vocabulary of {vocabulary}",
                "Tokenize the held-out texts as the training's; -1 is a place that does not count.",
            )
        parts.append(sums_of(outputs.log_probabilities(given, kind), tokens[here], counts[here]))
    answers = Generated(np.concatenate(parts), asking.rows.weights, vocabulary)
    return Said(answers, asking.output.name, kind, asking.inputs)


_OTHERS: Mapping[Task, Callable[[Asking, Items], Said]] = {
    Task.REGRESSION: lambda asking, items: predicted(asking),
    Task.RANKING: ranked,
    Task.TEXT_GENERATION: lambda asking, items: generated(asking),
}


def other(task: Task, asking: Asking, items: Items) -> Said:
    """Of a task that knows no classes."""
    return _OTHERS[task](asking, items)
