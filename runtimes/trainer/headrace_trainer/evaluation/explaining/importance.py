"""Permutation importance: by how much a metric gets worse where a column's values are shuffled among the rows (Breiman,
2001; Fisher et al., 2019).

scikit-learn's function of this name knows no deadline, and no inputs that are several arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headrace_common.evaluation import METRICS, Better, Task
from headrace_explain.asking import TimeIsOver
from headrace_trainer.evaluation.artifact import outputs
from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.artifact.outputs import Kind
from headrace_trainer.evaluation.explaining.features import Feature
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.kind import Answers
from headrace_trainer.evaluation.tasks.regression import Predicted

REPEATS = 5
_MOST_ROWS = 2000


@dataclass(frozen=True)
class Importance:
    """`mean` and `deviation` have, of each of `features`, by how much worse the metric is, over the repeats; those that
    the time was too short for are not there.
    """

    metric: str
    value: float
    rows: int
    features: Sequence[Feature]
    mean: Array
    deviation: Array
    complete: bool


def of_task(task: Task) -> str:
    """The metric that is looked at."""
    return next(iter(METRICS[task]))


def importance(
    task: Task,
    answers: Answers,
    kind: str,
    feed: Mapping[str, Array],
    features: Sequence[Feature],
    predict: Callable[[Mapping[str, Array]], Array],
    seed: int,
    is_over: Callable[[], bool],
) -> Importance | None:
    """`predict` gives what the model says of a feed; it may raise TimeIsOver, as is raised here where not even the
    metric itself was measured in time. None of a task whose rows are not judged one by one.
    """
    if not isinstance(answers, Classified | Predicted):
        return None
    random = np.random.RandomState(seed)
    rows = len(answers.truth)
    used = np.sort(random.permutation(rows)[:_MOST_ROWS])
    part = {name: values[used] for name, values in feed.items()}
    name, sign = of_task(task), 1 if METRICS[task][of_task(task)] is Better.GREATER else -1

    def score(values: Mapping[str, Array]) -> float:
        said = _with(answers, used, predict(values), kind)
        return float(said.measured(np.arange(len(used)))[name])

    whole = score(part)
    worse: list[list[float]] = []
    for feature in features:
        of_feature: list[float] = []
        with contextlib.suppress(TimeIsOver):
            while len(of_feature) < REPEATS and not is_over():
                of_feature.append(sign * (whole - score(_shuffled(part, feature, random.permutation(len(used))))))
        if len(of_feature) < REPEATS:
            break
        worse.append(of_feature)
    found = np.array(worse).reshape(len(worse), REPEATS)
    return Importance(
        name,
        whole,
        len(used),
        features[: len(worse)],
        found.mean(axis=1),
        found.std(axis=1),
        len(worse) == len(features),
    )


def _shuffled(feed: Mapping[str, Array], feature: Feature, order: Array) -> dict[str, Array]:
    values = feed[feature.input]
    flat = values.reshape(len(values), -1).copy()
    flat[:, feature.place] = flat[order, feature.place]
    return {**feed, feature.input: flat.reshape(values.shape)}


def _with(answers: Classified | Predicted, rows: Array, values: Array, kind: str) -> Classified | Predicted:
    """The same rows, with these answers of the model."""
    if isinstance(answers, Predicted):
        given = values.reshape(len(values), -1).astype(np.float64)
        return Predicted(answers.truth[rows], given, answers.weights[rows])
    given = outputs.probabilities(values, Kind(kind))
    return replace(
        answers,
        truth=answers.truth[rows],
        predicted=given.argmax(axis=1),
        probabilities=given,
        weights=answers.weights[rows],
    )
