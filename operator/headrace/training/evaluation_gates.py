"""Judges the gates of spec.evaluate by what the stage Evaluate has measured (pure).

The numbers are those of the stage's run. How much worse the model is than the baseline, at least and with the gate's
confidence, is the launcher's: a paired bootstrap over the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from headrace.api.scalars import format_decimal, parse_decimal
from headrace.api.trainingjob import BaselineVersion, Evaluate, EvaluateGate, EvaluationStatus, GateCheck
from headrace.training.bounds import bounds_of, is_within
from headrace.training.measured import said_of_measured
from headrace.training.record import MAX_METRICS, kept
from headrace_common.evaluation import (
    BASELINE,
    DIFFERENCE_HIGH,
    DIFFERENCE_LOW,
    FAIRNESS,
    LEAST_UNITS,
    MEAN_OVER_CLASSES,
    METRICS,
    OF_JOB,
    OF_POSITIVE,
    PREFIXES,
    SAMPLES,
    WORSE_BY,
    Task,
    metric_key,
    named,
)

_BETWEEN_GROUPS = frozenset(name for names in FAIRNESS.values() for name in names)


def judge_evaluation(
    evaluate: Evaluate, known: EvaluationStatus, measured: Mapping[str, float], of_class: str = ""
) -> tuple[GateCheck, ...]:
    """Every gate against what was measured, by its key; what is not there, or not finite, fails. `of_class` is what
    precision, recall and f1 are of; empty: they are means over classes.
    """
    return tuple(_check(gate, evaluate, known, measured, of_class) for gate in evaluate.gates)


def is_of_evaluation(check: GateCheck) -> bool:
    """Whether a gate of spec.evaluate asked for it."""
    return check.metric.startswith(OF_JOB)


def shown_metrics(measured: Mapping[str, float]) -> dict[str, float]:
    """What the status' metrics have of those of the stage: of all rows, and under a name that no training has."""
    whole = {name: value for name, value in measured.items() if not name.startswith(PREFIXES) and ":" not in name}
    return kept({f"{OF_JOB}{name}": value for name, value in whole.items()})


def beside_training(metrics: Mapping[str, str], measured: Mapping[str, float]) -> dict[str, str]:
    """The status' metrics with what an evaluation has measured; where there are too many, without the training's."""
    of_stage = {name: format_decimal(value) for name, value in sorted(shown_metrics(measured).items())}
    others = {name: value for name, value in metrics.items() if not name.startswith(OF_JOB)}
    return dict(sorted([*of_stage.items(), *others.items()][:MAX_METRICS]))


def sentence(check: GateCheck, evaluate: Evaluate, known: EvaluationStatus, measured: Mapping[str, float]) -> str:
    """Why a gate has not passed."""
    metric, key = check.metric.removeprefix(OF_JOB), _key(check)
    what = called(check)
    if check.value is None:
        return _not_measured(what, metric, check.slice, evaluate, measured)
    said = []
    value = measured[key]
    if not math.isfinite(value) or not is_within(value, check.min, check.max):
        bounds = bounds_of(check.min, check.max) or "a finite number"
        said.append(f"{what} is {check.value}, must be {bounds}")
    if (regression := check.max_regression) is not None and known.baseline is not None:
        version, limit = f"version {known.baseline.version}", format_decimal(regression)
        worse = measured.get(f"{WORSE_BY}{key}")
        if worse is None or not math.isfinite(worse):
            said.append(f"{_not_compared(what, check, evaluate, known.baseline)}, and maxRegression is {limit}")
        elif parse_decimal(repr(worse)) > regression and evaluate.task is Task.SCRIPT:
            said.append(
                f"{what} is {check.value}, and worse by {check.worse_by} than that of {version} "
                f"({known.baseline.alias}), as {evaluate.entrypoint} has logged it; it may be worse by {limit}"
            )
        elif parse_decimal(repr(worse)) > regression:
            said.append(
                f"{what} is {check.value}, that of {version} ({known.baseline.alias}) {check.baseline or 'unknown'}: "
                f"worse by at least {check.worse_by} with a confidence of {format_decimal(check.confidence or 0)}, may "
                f"be worse by {limit}"
            )
    return "; ".join(said)


def advice(
    checks: tuple[GateCheck, ...], evaluate: Evaluate, known: EvaluationStatus, measured: Mapping[str, float]
) -> str:
    """What to do about those that have not passed."""
    if unknown := [check for check in checks if not check.passed and check.value is None]:
        there = said_of_measured(unknown, measured)
        if evaluate.task is Task.SCRIPT:
            names = ", ".join(dict.fromkeys(_key(check) for check in unknown))
            return (
                f"let {evaluate.entrypoint} log {names} (headrace_client.log), or name a metric that it logs, in a new "
                f"TrainingJob; {there}"
            )
        return (
            f"judge on rows that the metric can be measured on, or change evaluate.gates, in a new TrainingJob; {there}"
        )
    compared = [check for check in checks if check.max_regression is not None and known.baseline is not None]
    if unknown := [check for check in compared if not check.passed and check.worse_by is None]:
        if evaluate.task is Task.SCRIPT:
            names = ", ".join(f"{WORSE_BY}{_key(check)}" for check in unknown)
            return f"let {evaluate.entrypoint} log {names} (headrace_client.log), in a new TrainingJob"
        return "judge on more rows that are independent of one another, in a new TrainingJob"
    return "train longer or with better data, or change evaluate.gates, in a new TrainingJob"


def called(check: GateCheck) -> str:
    """What a check has looked at, as people read it."""
    metric = check.metric.removeprefix(OF_JOB)
    if check.averaged is None:
        return f"{metric} of {check.slice}" if check.slice else metric
    what = named(metric, check.averaged)
    return f"{what} in {check.slice}" if check.slice else what


def _check(
    gate: EvaluateGate, evaluate: Evaluate, known: EvaluationStatus, measured: Mapping[str, float], of_class: str
) -> GateCheck:
    is_compared = known.baseline is not None
    # What a program of the user's logs has whatever confidence it has.
    has_confidence = gate.max_regression is not None and evaluate.task is not Task.SCRIPT
    key = metric_key(gate.metric, gate.slice)
    value = measured.get(key)
    passed = value is not None and math.isfinite(value) and is_within(value, gate.min, gate.max)
    told: dict[str, str | None] = {"baseline": None, "low": None, "high": None, "worse_by": None}
    if is_compared:
        prefixes = {"baseline": BASELINE, "low": DIFFERENCE_LOW, "high": DIFFERENCE_HIGH, "worse_by": WORSE_BY}
        told = {name: _finite(measured.get(f"{prefix}{key}")) for name, prefix in prefixes.items()}
    if is_compared and gate.max_regression is not None:
        worse = measured.get(f"{WORSE_BY}{key}")
        passed = (
            passed and worse is not None and math.isfinite(worse) and parse_decimal(repr(worse)) <= gate.max_regression
        )
    samples = measured.get(f"{SAMPLES}{key}", math.nan)
    is_averaged = evaluate.task is Task.CLASSIFICATION and gate.metric in OF_POSITIVE
    return GateCheck(
        metric=f"{OF_JOB}{gate.metric}",
        slice=gate.slice,
        averaged=(of_class[:200] or MEAN_OVER_CLASSES) if is_averaged else None,
        value=_text(value),
        **told,
        min=gate.min,
        max=gate.max,
        max_regression=gate.max_regression,
        confidence=gate.confidence if has_confidence else None,
        samples=int(samples) if math.isfinite(samples) and samples >= 0 else None,
        compared=None if gate.max_regression is None else is_compared,
        passed=passed,
    )


def _not_measured(what: str, metric: str, of_slice: str, evaluate: Evaluate, measured: Mapping[str, float]) -> str:
    if not of_slice or (metric not in measured and metric not in _BETWEEN_GROUPS):
        return f"{what} was not measured" if evaluate.task is not Task.SCRIPT else f"{what} was never logged"
    if metric in _BETWEEN_GROUPS:
        return f"{what} was not measured: the column is not there, or has one value only"
    if any(metric_key(other, of_slice) in measured for other in METRICS.get(evaluate.task, ())):
        return f"{what} was not measured: there are such rows, and it does not exist on them"
    return f"{what} was not measured: no row has this value"


def _not_compared(what: str, check: GateCheck, evaluate: Evaluate, baseline: BaselineVersion) -> str:
    if evaluate.task is Task.SCRIPT:
        return f"how much worse {what} is than that of version {baseline.version} was not measured"
    found = f"{what} was not compared with that of version {baseline.version} ({baseline.alias})"
    rows, unit = check.samples, "groups" if evaluate.task is Task.RANKING else "rows"
    if check.baseline is None:
        return f"{found}: it was not measured of that version"
    if rows is not None and rows < LEAST_UNITS:
        return f"{found}: {rows} {unit}; at least {LEAST_UNITS} are needed for a comparison"
    of_all = f"of its {unit}" if rows is None else f"of its {rows} {unit}"
    return (
        f"{found}: {of_all} fewer than {LEAST_UNITS} are independent of one another and count (evaluate.data.group, "
        "evaluate.data.weight), or the metric does not exist on most of those drawn from them"
    )


def _key(check: GateCheck) -> str:
    return metric_key(check.metric.removeprefix(OF_JOB), check.slice)


def _finite(value: float | None) -> str | None:
    """What could not be told is absent."""
    return None if value is None or not math.isfinite(value) else format_decimal(value)


def _text(value: float | None) -> str | None:
    return None if value is None else format_decimal(value)
