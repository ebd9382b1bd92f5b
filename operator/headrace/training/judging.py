"""Judges what a training has left: whether its run stands by the record, and its model passes the gates (pure).

A launcher's record is a claim: the run, found by its tag, must carry the same digest, and the artifact must lie within
it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.api.scalars import format_decimal, parse_decimal
from headrace.api.trainingjob import EvaluationGate, Gate, GateCheck, TrainingJob
from headrace.tracking.errors import TrackingError
from headrace.tracking.records import Run
from headrace.training.divergence import divergence
from headrace.training.record import kept
from headrace.training.states import Reason
from headrace_common.protocol import claims
from headrace_common.tags import DIGEST_TAG, MODEL_METRICS_TAG, MODEL_TAG

_MAX_LISTED = 20
_LOG = "headrace_client.log, mlflow.log_metric"
_REST = "*"


class DigestMismatch(TrackingError):
    """The run and the launcher's record do not agree on the artifact."""

    reason = Reason.DIGEST_MISMATCH


@dataclass(frozen=True)
class Judgement:
    """What is known of a model before anything is registered."""

    run: Run
    gate: Gate | None  # None: no gates are asked for
    metrics: dict[str, str]  # to show in status
    diverged: str  # which losses are no finite numbers at the end; empty: none


def judgement(job: TrainingJob, run: Run) -> Judgement:
    """All that there is to say of the model of this run."""
    evaluation, metrics = job.spec.evaluation, metrics_of_model(run)
    gates = evaluation.gates if evaluation else ()
    return Judgement(
        run=run,
        gate=judge(gates, metrics) if evaluation else None,
        metrics=metrics_to_show(job.status.metrics, gates, metrics, run),
        diverged=divergence(run.metrics),
    )


def judge(gates: tuple[EvaluationGate, ...], metrics: Mapping[str, float]) -> Gate:
    """Every gate against its metric (`metrics_of_model`); one that is not there, or not finite, fails."""
    checks = tuple(_check(gate, metrics.get(gate.metric)) for gate in gates)
    return Gate(passed=all(check.passed for check in checks), checks=checks)


def metrics_of_model(run: Run) -> dict[str, float]:
    """The registered model's value of each metric, as far as the launcher has told what was measured on it (null: on
    other models, or other weights, only), and otherwise the run's last one. Both are claims of user code.
    """
    try:
        told = json.loads(run.tags.get(MODEL_METRICS_TAG, "{}"))
    except (ValueError, RecursionError):
        told = {}
    of_model = {name: claims.metric(value) for name, value in told.items()} if isinstance(told, dict) else {}
    if _REST in of_model:  # there were too many
        return {name: value for name, value in of_model.items() if value is not None}
    return {name: value for name, value in {**run.metrics, **of_model}.items() if value is not None}


def metrics_to_show(
    reported: Mapping[str, str], gates: tuple[EvaluationGate, ...], judged: Mapping[str, float], run: Run
) -> dict[str, str]:
    """The status' metrics at the end: what the launcher has reported, what the gates have judged, and where it has
    reported nothing, since the program logs to MLflow by itself, what the run has.
    """
    asked = {gate.metric: judged[gate.metric] for gate in gates if gate.metric in judged}
    found = asked if reported else kept({**asked, **run.metrics, **judged})
    return {**{name: format_decimal(value) for name, value in sorted(found.items())}, **reported}


def _check(gate: EvaluationGate, value: float | None) -> GateCheck:
    passed = value is not None and math.isfinite(value)
    if value is not None and passed:
        number = parse_decimal(repr(value))
        passed = (gate.min is None or number >= gate.min) and (gate.max is None or number <= gate.max)
    return GateCheck(
        metric=gate.metric,
        value=None if value is None else format_decimal(value),
        min=gate.min,
        max=gate.max,
        passed=passed,
    )


def verify(run: Run | None, uri: str, digest: str) -> Run:
    """The run, when it stands by the record. Raises DigestMismatch."""
    if run is None:
        raise DigestMismatch("the launcher reports a model, but MLflow has no run of this TrainingJob")
    tagged = run.tags.get(DIGEST_TAG, "")
    if tagged != digest:
        raise DigestMismatch(
            f"the launcher reports a model with digest {digest}, but the tag {DIGEST_TAG} of its run is "
            f"{tagged or 'not set'}"
        )
    if not uri.startswith(run.artifact_uri.rstrip("/") + "/"):
        raise DigestMismatch(
            f"the launcher reports a model at {uri}, outside of its run's artifacts {run.artifact_uri}"
        )
    return run


def advice(gate: Gate, run: Run) -> str:
    """What to do where a gate has not passed."""
    if unknown := [check.metric for check in gate.checks if check.value is None and check.metric not in run.metrics]:
        log_it = f"log it in the script ({_LOG}), in a new TrainingJob"
        if not run.metrics:
            return f"the run has no metrics: {log_it}"
        logged = ", ".join(sorted(run.metrics)[:_MAX_LISTED])
        return f"name a metric that the run has in place of {', '.join(unknown)} ({logged}), or {log_it}"
    if any(check.value is None for check in gate.checks if not check.passed):
        return (
            "call model.evaluate on this model last and put the gate on eval_…, or log a value of your own under "
            f"another name ({_LOG}), in a new TrainingJob"
        )
    return "train longer or with better data, or change the gates in spec.evaluation, in a new TrainingJob"


def missed(gate: Gate, run: Run) -> str:
    """What has not passed, and why."""
    return "; ".join(_sentence(check, run) for check in gate.checks if not check.passed)


def _sentence(check: GateCheck, run: Run) -> str:
    if check.value is None and check.metric in run.metrics:
        model = run.tags.get(MODEL_TAG) or "the model"
        return f"{check.metric} was not measured on {model} with the weights to be registered"
    if check.value is None:
        return f"{check.metric} was never logged"
    bounds = [f"at least {format_decimal(check.min)}"] if check.min is not None else []
    bounds += [f"at most {format_decimal(check.max)}"] if check.max is not None else []
    return f"{check.metric} is {check.value}, must be {' and '.join(bounds)}"
