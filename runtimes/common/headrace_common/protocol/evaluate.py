"""What a stage of evaluation is told: which model, on which data, beside which other one. A part of HEADRACE_CONFIG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace_common.evaluation import Task
from headrace_common.explanation import Method
from headrace_common.formats import ModelFormat
from headrace_common.protocol.claims import DIGEST
from headrace_common.protocol.fields import CannotBeDone, Fields, wrong

# What can be run as a server runs it.
_FORMATS = (ModelFormat.ONNX, ModelFormat.TENSORFLOW)


@dataclass(frozen=True)
class EvaluatedModel:
    """A model's folder in the store, and the digest of its manifest: it is these bytes that are judged, or none."""

    uri: str
    digest: str

    def as_json(self) -> dict[str, Any]:
        return {"uri": self.uri, "digest": self.digest}


@dataclass(frozen=True)
class Baseline(EvaluatedModel):
    """The version that an alias pointed at before the stage began."""

    version: str = ""
    alias: str = ""

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "version": self.version, "alias": self.alias}


@dataclass(frozen=True)
class EvaluationData:
    """The rows to judge on. `path` is below the dataset, or empty for all of it; `inputs` has the columns of each of
    the model's inputs, where they are not evident; the others are names of columns, empty where there is none.
    `positive` is a label.
    """

    dataset: str
    path: str = ""
    label: str = "label"
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    output: str = ""
    weight: str = ""
    group: str = ""
    positive: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "path": self.path,
            "label": self.label,
            "inputs": {name: list(columns) for name, columns in self.inputs.items()},
            "output": self.output,
            "weight": self.weight,
            "group": self.group,
            "positive": self.positive,
        }


@dataclass(frozen=True)
class Comparison:
    """What a gate names: a metric, of a slice or of all (empty), which is measured however rare it is; where there is a
    baseline its difference, too, with a confidence (0.5 up to 1).
    """

    metric: str
    slice: str
    confidence: float

    def as_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "slice": self.slice, "confidence": self.confidence}


@dataclass(frozen=True)
class Card:
    """What only a person can write in the model's card."""

    intended_use: str = ""
    limits: str = ""
    licence: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"intendedUse": self.intended_use, "limits": self.limits, "licence": self.licence}


@dataclass(frozen=True)
class Explain:
    """How the model's answers are explained. `samples` rows are, half of them the worst mistakes, against `background`
    others; `target` is a class by its name, empty where each row's own is meant; `budget` is how many rows the model is
    asked for to explain one; without `values` no value of a row is kept.
    """

    method: Method = Method.AUTO
    samples: int = 20
    target: str = ""
    background: int = 50
    budget: int = 512
    importance: bool = True
    values: bool = True
    deadline_seconds: int = 300

    def as_json(self) -> dict[str, Any]:
        return {
            "method": str(self.method),
            "samples": self.samples,
            "target": self.target,
            "background": self.background,
            "budget": self.budget,
            "importance": self.importance,
            "values": self.values,
            "deadlineSeconds": self.deadline_seconds,
        }


@dataclass(frozen=True)
class Evaluate:
    """What is judged, and on what. Without a `baseline` there is none yet; `data` is there for every task but SCRIPT;
    `format` is empty where any will do; `parent` is the job's run, empty where it is not known, and `training` the
    one that made the model, empty where that is the job's; without `explain` nothing is explained.
    """

    task: Task
    model: EvaluatedModel
    baseline: Baseline | None = None
    format: str = ""
    data: EvaluationData | None = None
    slices: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    card: Card = Card()
    parent: str = ""
    training: str = ""
    explain: Explain | None = None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"task": str(self.task), "model": self.model.as_json(), "format": str(self.format)}
        if self.baseline is not None:
            found["baseline"] = self.baseline.as_json()
        if self.data is not None:
            found["data"] = self.data.as_json()
        if self.explain is not None:
            found["explain"] = self.explain.as_json()
        if self.training:
            found["training"] = self.training
        return found | {
            "slices": list(self.slices),
            "sensitive": list(self.sensitive),
            "comparisons": [one.as_json() for one in self.comparisons],
            "card": self.card.as_json(),
            "parent": self.parent,
        }


def parse_evaluate(fields: Fields | None, where: str) -> Evaluate | None:
    """The part of the instructions that lies at `where`. Raises NotUnderstood."""
    if fields is None:
        return None
    task, card = _task(fields.text("task")), fields.optional("card")
    data = _data(fields.optional("data"), where)
    if (task is Task.SCRIPT) == (data is not None):
        raise CannotBeDone(f"evaluate.data: task {task} has {'none' if data else 'to have it'}")
    if task is Task.RANKING and data is not None and not data.group:
        raise CannotBeDone("evaluate.data.group: task Ranking needs the column that says which query a row belongs to")
    return Evaluate(
        task=task,
        model=EvaluatedModel(*_model(fields.object("model"), where)),
        baseline=_baseline(fields.optional("baseline"), where),
        format=_format(fields.text("format", ""), where),
        data=data,
        slices=_names(fields.items("slices"), f"{where}.slices"),
        sensitive=_names(fields.items("sensitive"), f"{where}.sensitive"),
        comparisons=tuple(_comparison(one, where) for one in fields.objects("comparisons")),
        card=Card()
        if card is None
        else Card(card.text("intendedUse", ""), card.text("limits", ""), card.text("licence", "")),
        parent=fields.text("parent", ""),
        training=fields.text("training", ""),
        explain=_explain(fields.optional("explain"), where),
    )


def _task(name: str) -> Task:
    try:
        return Task(name)
    except ValueError:
        raise CannotBeDone(f"task {name}: this launcher knows {', '.join(Task)} only") from None


def _model(fields: Fields, where: str) -> tuple[str, str]:
    uri, digest = fields.text("uri"), fields.text("digest")
    if not DIGEST.fullmatch(digest):
        raise wrong(f"{where}: digest of {uri}", "sha256: and 64 hex digits", digest)
    return uri.rstrip("/"), digest


def _baseline(fields: Fields | None, where: str) -> Baseline | None:
    if fields is None:
        return None
    return Baseline(*_model(fields, where), fields.text("version", ""), fields.text("alias", ""))


def _format(name: str, where: str) -> str:
    if name and name not in _FORMATS:
        raise wrong(f"{where}.format", " or ".join(_FORMATS), name)
    return name


def _data(fields: Fields | None, where: str) -> EvaluationData | None:
    if fields is None:
        return None
    inputs = fields.mapping("inputs")
    for name, columns in inputs.items():
        if not isinstance(columns, list):
            raise wrong(f"{where}.data.inputs.{name}", "a list", columns)
    return EvaluationData(
        dataset=fields.text("dataset"),
        path=fields.text("path", ""),
        label=fields.text("label", "label"),
        inputs={name: _names(columns, f"{where}.data.inputs.{name}") for name, columns in inputs.items()},
        output=fields.text("output", ""),
        weight=fields.text("weight", ""),
        group=fields.text("group", ""),
        positive=fields.text("positive", ""),
    )


def _explain(fields: Fields | None, where: str) -> Explain | None:
    if fields is None:
        return None
    name = fields.text("method")
    if name not in list(Method):
        raise CannotBeDone(f"{where}.explain.method {name}: this launcher knows {', '.join(Method)} only")
    return Explain(
        method=Method(name),
        samples=fields.integer("samples", least=1),
        target=fields.text("target", ""),
        background=fields.integer("background", least=1),
        budget=fields.integer("budget", least=1),
        importance=fields.flag("importance"),
        values=fields.flag("values"),
        deadline_seconds=fields.integer("deadlineSeconds", least=1),
    )


def _names(found: list[Any], where: str) -> tuple[str, ...]:
    for name in found:
        if not isinstance(name, str) or not name:
            raise wrong(where, "made of texts that are not empty", name)
    return tuple(found)


def _comparison(fields: Fields, where: str) -> Comparison:
    confidence = fields.number("confidence", default=0.95)
    if not 0.5 <= confidence < 1:
        raise wrong(f"{where}.comparisons: confidence", "from 0.5 to less than 1", confidence)
    return Comparison(fields.text("metric"), fields.text("slice", ""), confidence)
