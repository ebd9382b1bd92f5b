"""What is found: metrics of all and of each slice, of model and baseline, and how sure their difference is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace_common.evaluation import FAIRNESS, LEAST_UNITS, METRICS, Better, Task
from headrace_common.protocol.evaluate import Comparison
from headrace_trainer.evaluation import fairness
from headrace_trainer.evaluation.data.values import Values
from headrace_trainer.evaluation.rows import Items
from headrace_trainer.evaluation.statistics import compare, resamples
from headrace_trainer.evaluation.statistics.families import Family
from headrace_trainer.evaluation.tasks.classification import OF_CURVES, Classified
from headrace_trainer.evaluation.tasks.kind import Answers

Array = np.ndarray[Any, np.dtype[Any]]
CONFIDENCE = 0.95  # where nobody says another one


@dataclass(frozen=True)
class Measured:
    """Of all (`slice` is empty), of a slice, or, of fairness, of a sensitive column."""

    slice: str
    samples: int
    metrics: Mapping[str, float]
    baseline: Mapping[str, float] | None


@dataclass(frozen=True)
class Compared:
    """A metric of candidate and baseline on the same rows."""

    metric: str
    slice: str
    confidence: float
    value: float
    baseline: float
    samples: int
    difference: compare.Difference


@dataclass(frozen=True)
class Judgement:
    """`groups` has, of each sensitive column, what its groups are given."""

    measured: Sequence[Measured]
    fairness: Sequence[Measured]
    groups: Mapping[str, Mapping[str, Mapping[str, float]]]
    compared: Sequence[Compared]
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def whole(self) -> Measured:
        return self.measured[0]


@dataclass(frozen=True)
class _Part:
    """A slice, or a sensitive column: which items are looked at, what is measured, and how."""

    name: str
    items: Array
    candidate: Sequence[Family]
    baseline: Sequence[Family]
    measured: Measured


def judge(
    task: Task,
    items: Items,
    candidate: Answers,
    baseline: Answers | None,
    wanted: Sequence[Comparison],
    seed: int,
) -> Judgement:
    """`wanted` are the comparisons that gates ask for; those of all rows are made in any case."""
    every = np.arange(items.count)
    places = {"": every} | {name: place for name, place in items.slices.items() if items.weights[place].sum() > 0}
    measured = [
        Measured(
            name,
            len(place),
            candidate.measured(place),
            None if baseline is None else baseline.measured(place),
        )
        for name, place in places.items()
    ]
    fair, groups = _fairness(items, candidate, baseline)
    remarks = _remarks(task, items, wanted)
    if baseline is None:
        return Judgement(measured, fair, groups, (), remarks)
    asked = {(one.metric, one.slice): one.confidence for one in wanted}
    for name in measured[0].metrics:
        asked.setdefault((name, ""), CONFIDENCE)
    for of_column in fair:
        for name in of_column.metrics:
            asked.setdefault((name, of_column.slice), CONFIDENCE)
    compared = _compare(task, items, candidate, baseline, places, measured, fair, asked, seed)
    few = sorted({one.slice for one in compared if np.isnan(one.difference.worse_by) and np.isfinite(one.value)})
    if few:
        told = ", ".join(name or "all rows" for name in few)
        remarks += (
            f"No interval is told of {told}: fewer than {LEAST_UNITS} rows (or groups) that are independent of "
            "one another, or resamples in which the metric does not exist.",
        )
    return Judgement(measured, fair, groups, compared, remarks)


def _compare(
    task: Task,
    items: Items,
    candidate: Answers,
    baseline: Answers,
    places: Mapping[str, Array],
    measured: Sequence[Measured],
    fair: Sequence[Measured],
    asked: Mapping[tuple[str, str], float],
    seed: int,
) -> list[Compared]:
    units = resamples.units(items.count, items.independent, seed)
    draws = resamples.draws(units.count, seed)
    better = {**METRICS[task], **FAIRNESS.get(task, {})}
    found: list[Compared] = []
    for part in [*_parts(places, measured, candidate, baseline, asked), *_columns(items, fair, candidate, baseline)]:
        names = [name for name, of in asked if of == part.name and name in part.measured.metrics and name in better]
        if not names or part.measured.baseline is None:
            continue
        of_units, spread = units.of[part.items], units.spread(part.items)
        effective = units.effective(part.items, items.weights)
        ours, theirs = (_replicated(families, of_units, draws, names) for families in (part.candidate, part.baseline))
        for name in names:
            confidence = asked[name, part.name]
            value, other = part.measured.metrics[name], part.measured.baseline.get(name, np.nan)
            difference = (
                compare.difference(
                    ours[name],
                    theirs[name],
                    value - other,
                    Better(better[name]),
                    confidence,
                    spread,
                    min(effective - 1, _freedom(part, candidate, name)),
                )
                if name in ours and name in theirs
                else compare.UNKNOWN
            )
            found.append(Compared(name, part.name, confidence, value, other, part.measured.samples, difference))
    return found


def _freedom(part: _Part, candidate: Answers, name: str) -> float:
    """Of an area under a curve how much its classes tell of its spread; of anything else the bootstrap knows it."""
    if not isinstance(candidate, Classified) or name not in OF_CURVES:
        return np.inf
    ours, theirs = (
        next(np.asarray(family.columns) for family in families if name in family.metrics)
        for families in (part.candidate, part.baseline)
    )
    return compare.degrees(ours - theirs, candidate.truth[part.items])


def _replicated(families: Sequence[Family], units: Array, draws: Array, names: Sequence[str]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for family in families:
        of_names = {name: of for name, of in family.metrics.items() if name in names}
        if of_names:
            found |= compare.replicated(Family(family.columns, of_names), units, draws)
    return found


def _parts(
    places: Mapping[str, Array],
    measured: Sequence[Measured],
    candidate: Answers,
    baseline: Answers,
    asked: Collection[tuple[str, str]],
) -> list[_Part]:
    found = []
    for (name, place), of in zip(places.items(), measured, strict=True):
        if names := {metric for metric, slice in asked if slice == name}:
            ours, theirs = (answers.families(place, names) for answers in (candidate, baseline))
            found.append(_Part(name, place, ours, theirs, of))
    return found


def _columns(items: Items, fair: Sequence[Measured], candidate: Answers, baseline: Answers) -> list[_Part]:
    found = []
    for of in fair:
        ours, theirs = (_sides(answers, items.sensitive[of.slice]) for answers in (candidate, baseline))
        if ours is not None and theirs is not None:
            families = ([fairness.family(*ours[1])], [fairness.family(*theirs[1])])
            found.append(_Part(of.slice, ours[0], *families, of))
    return found


def _sides(answers: Answers, values: Values) -> tuple[Array, tuple[Array, Array, Array, Array]] | None:
    """Which rows have a group, and of these: who is of the positive class, who is given it, the group, the weights."""
    if not isinstance(answers, Classified):
        return None
    items = np.flatnonzero(values.of >= 0)
    truth, given = answers.truth[items] == answers.positive, answers.predicted[items] == answers.positive
    return items, (truth, given, values.of[items], answers.weights[items])


def _fairness(
    items: Items, candidate: Answers, baseline: Answers | None
) -> tuple[list[Measured], dict[str, dict[str, dict[str, float]]]]:
    found: list[Measured] = []
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for column, values in items.sensitive.items():
        ours = _sides(candidate, values)
        theirs = None if baseline is None else _sides(baseline, values)
        if ours is None or len(values.names) < 2:
            continue
        others = None if theirs is None else fairness.measured(*theirs[1])
        found.append(Measured(column, len(ours[0]), fairness.measured(*ours[1]), others))
        shares = fairness.by_group(*ours[1])
        groups[column] = {values.names[number]: of for number, of in shares.items()}
    return found, groups


def _remarks(task: Task, items: Items, wanted: Sequence[Comparison]) -> tuple[str, ...]:
    known = {**METRICS[task], **FAIRNESS.get(task, {})}
    names = {"", *(name for name, place in items.slices.items() if len(place)), *items.sensitive}
    found = [f"Nobody measures {one.metric} of task {task}." for one in wanted if one.metric not in known]
    lost = sorted({one.slice for one in wanted if one.slice not in names})
    found += [f"No row is of {name}, which a gate names." for name in lost]
    single = [name for name, values in items.sensitive.items() if len(values.names) < 2]
    found += [f"All rows are of one group in {name}: that says nothing of fairness." for name in single]
    return tuple(dict.fromkeys(found))
