"""Judges what a training has left: whether its run stands by the record, and its model passes the gates (pure). Those
of the stage Evaluate are `evaluation_gates`.

A launcher's record is a claim: the run, found by its tag, must carry the same digest, and the artifact must lie within
it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.api.scalars import format_decimal
from headrace.api.trainingjob import EvaluationGate, EvaluationStatus, Gate, GateCheck, TrainingJob
from headrace.tracking.errors import TrackingError
from headrace.tracking.records import Run
from headrace.training import evaluation_gates
from headrace.training.bounds import bounds_of, is_within
from headrace.training.divergence import divergence
from headrace.training.evaluation_gates import beside_training, is_of_evaluation, judge_evaluation
from headrace.training.record import kept
from headrace.training.states import Reason
from headrace_common.evaluation import OF_JOB
from headrace_common.protocol import claims
from headrace_common.tags import (
    BASELINE_DIGEST_TAG,
    DIGEST_TAG,
    EVALUATED_CLASS_TAG,
    EVALUATED_DIGEST_TAG,
    MODEL_METRICS_TAG,
    MODEL_TAG,
)

_MAX_LISTED = 20
_LOG = "headrace_client.log, mlflow.log_metric"
_REST = "*"


class DigestMismatch(TrackingError):
    """The run and the launcher's record do not agree on the artifact."""

    reason = Reason.DIGEST_MISMATCH


@dataclass(frozen=True)
class Judgement:
    """What is known of a model before anything is registered. `evaluation` is the run of the stage Evaluate, if any."""

    job: TrainingJob
    run: Run
    evaluation: Run | None
    gate: Gate | None  # None: no gates are asked for
    metrics: dict[str, str]  # to show in status
    diverged: str  # which losses are no finite numbers at the end; empty: none

    @property
    def measured(self) -> dict[str, float]:
        """By the stage Evaluate. A program of the user's may have been killed, and another attempt have ended well."""
        return metrics_of_model(self.evaluation) if self.evaluation is not None else {}


def judgement(job: TrainingJob, run: Run, evaluation: Run | None = None) -> Judgement:
    """All that there is to say of the model of this run, and of the run of the stage that has evaluated it."""
    spec, metrics = job.spec, metrics_of_model(run)
    gates = spec.evaluation.gates if spec.evaluation else ()
    checks = judge(gates, metrics).checks
    of_training = {name: value for name, value in job.status.metrics.items() if not name.startswith(OF_JOB)}
    shown = metrics_to_show(of_training, gates, metrics, run)
    if spec.evaluate is not None and evaluation is not None:
        measured = metrics_of_model(evaluation)
        of_class = evaluation.tags.get(EVALUATED_CLASS_TAG, "")
        checks = (*checks, *judge_evaluation(spec.evaluate, _known(job), measured, of_class))
        shown = beside_training(shown, measured)
    return Judgement(
        job=job,
        run=run,
        evaluation=evaluation,
        gate=_verdict(checks) if checks else None,
        metrics=shown,
        diverged=divergence(run.metrics),
    )


def judge(gates: tuple[EvaluationGate, ...], metrics: Mapping[str, float]) -> Gate:
    """Every gate against its metric (`metrics_of_model`); one that is not there, or not finite, fails."""
    return _verdict(tuple(_check(gate, metrics.get(gate.metric)) for gate in gates))


def _verdict(checks: tuple[GateCheck, ...]) -> Gate:
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
    passed = value is not None and math.isfinite(value) and is_within(value, gate.min, gate.max)
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


def verify_evaluation(job: TrainingJob, run: Run | None, digest: str) -> Run:
    """The run of the stage Evaluate, when it has judged these bytes beside the baseline. Raises DigestMismatch."""
    if run is None:
        raise DigestMismatch("the launcher reports an evaluation, but MLflow has no run of this stage")
    baseline = _known(job).baseline
    wanted = {EVALUATED_DIGEST_TAG: digest, BASELINE_DIGEST_TAG: baseline.digest if baseline else ""}
    for tag, value in wanted.items():
        if (tagged := run.tags.get(tag, "")) != value:
            raise DigestMismatch(
                f"the tag {tag} of the evaluation's run {run.id} is {tagged or 'not set'}, but it should have judged "
                f"{value or 'without a baseline'}"
            )
    return run


def _known(job: TrainingJob) -> EvaluationStatus:
    return job.status.evaluation or EvaluationStatus()


def advice(judged: Judgement) -> str:
    """What to do where a gate has not passed: those of the training come first."""
    checks = judged.gate.checks if judged.gate else ()
    of_training = tuple(check for check in checks if not is_of_evaluation(check))
    evaluate = judged.job.spec.evaluate
    if all(check.passed for check in of_training) and evaluate is not None and judged.evaluation is not None:
        of_evaluation = tuple(filter(is_of_evaluation, checks))
        return evaluation_gates.advice(of_evaluation, evaluate, _known(judged.job), judged.measured)
    return _advice(of_training, judged.run)


def _advice(checks: tuple[GateCheck, ...], run: Run) -> str:
    if unknown := [check.metric for check in checks if check.value is None and check.metric not in run.metrics]:
        log_it = f"log it in the script ({_LOG}), in a new TrainingJob"
        if not run.metrics:
            return f"the run has no metrics: {log_it}"
        logged = ", ".join(sorted(run.metrics)[:_MAX_LISTED])
        return f"name a metric that the run has in place of {', '.join(unknown)} ({logged}), or {log_it}"
    if any(check.value is None for check in checks if not check.passed):
        return (
            "call model.evaluate on this model last and put the gate on eval_…, or log a value of your own under "
            f"another name ({_LOG}), in a new TrainingJob"
        )
    return "train longer or with better data, or change the gates in spec.evaluation, in a new TrainingJob"


def missed(judged: Judgement) -> str:
    """What has not passed, and why."""
    checks = judged.gate.checks if judged.gate else ()
    return "; ".join(_why(judged, check) for check in checks if not check.passed)


def _why(judged: Judgement, check: GateCheck) -> str:
    evaluate = judged.job.spec.evaluate
    if not is_of_evaluation(check) or evaluate is None or judged.evaluation is None:
        return _sentence(check, judged.run)
    return evaluation_gates.sentence(check, evaluate, _known(judged.job), judged.measured)


def _sentence(check: GateCheck, run: Run) -> str:
    if check.value is None and check.metric in run.metrics:
        model = run.tags.get(MODEL_TAG) or "the model"
        return f"{check.metric} was not measured on {model} with the weights to be registered"
    if check.value is None:
        return f"{check.metric} was never logged"
    return f"{check.metric} is {check.value}, must be {bounds_of(check.min, check.max)}"
