"""The end of a TrainingJob with an output: compare digests, judge the gates, register the version, point the alias.

The intent stands in status (state Finishing, the model's uri and digest) before anything here runs. Each act looks
first for what an earlier try left, so that an operator killed between two of them registers one version and moves one
alias. A launcher's record is a claim: the run, found by its tag, must carry the same digest, and the artifact must lie
within it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from headrace.api.scalars import format_decimal, parse_decimal
from headrace.api.trainingjob import (
    EvaluationGate,
    Failure,
    FailureClass,
    Gate,
    GateCheck,
    State,
    TrainingJob,
    TrainingJobStatus,
)
from headrace.kube.plan import Event, EventType
from headrace.sentences import joined
from headrace.tracking.errors import (
    AliasReserved,
    ModelNameTaken,
    TrackingError,
    TrackingForbidden,
    VersionMismatch,
)
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import GATE_TAG, Run
from headrace.training.divergence import HINT, divergence
from headrace.training.record import kept
from headrace.training.states import Reason
from headrace_common.protocol import claims
from headrace_common.tags import DIGEST_TAG, MODEL_METRICS_TAG, MODEL_REASON_TAG, MODEL_TAG, OUTCOME_TAG

# What to do where the registry holds something that a person has to look at.
HINTS: dict[str, str] = {
    Reason.DIGEST_MISMATCH: "the run or the model's files were changed after the training: find out who else writes to "
    "this experiment and bucket, then create a new TrainingJob",
    VersionMismatch.reason: "delete that version in MLflow, then create a new TrainingJob",
    ModelNameTaken.reason: "use another spec.output.model in a new TrainingJob",
    TrackingForbidden.reason: "MLflow refuses the operator's credentials: correct the Secret that the chart's "
    "mlflow.existingSecret names (otherwise headrace-mlflow), then create a new TrainingJob",
}
_MAX_LISTED = 20
_REST = "*"
HINT_OTHERWISE = "MLflow refused the registration: its log says more; then create a new TrainingJob"


@dataclass(frozen=True)
class Verdict:
    """What became of the model: the status without the model's own part, and the Event that tells it."""

    status: TrainingJobStatus
    event: Event


class DigestMismatch(TrackingError):
    """The run and the launcher's record do not agree on the artifact."""

    reason = Reason.DIGEST_MISMATCH


def judge(gates: tuple[EvaluationGate, ...], metrics: Mapping[str, float]) -> Gate:
    """Every gate against its metric (`metrics_of_model`); one that is not there, or not finite, fails (pure)."""
    checks = tuple(_check(gate, metrics.get(gate.metric)) for gate in gates)
    return Gate(passed=all(check.passed for check in checks), checks=checks)


def metrics_of_model(run: Run) -> dict[str, float]:
    """The registered model's value of each metric, as far as the launcher has told what was measured on it (null: on
    other models, or other weights, only), and otherwise the run's last one (pure). Both are claims of user code.
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
    """The status' metrics at the end (pure): what the launcher has reported, what the gates have judged, and where it
    has reported nothing, since the program logs to MLflow by itself, what the run has.
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
    """The run, when it stands by the record (pure). Raises DigestMismatch."""
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


async def finish(job: TrainingJob, ledger: Ledger, tenant_user: str, now: datetime) -> Verdict:
    """Do what is left to do for a job in state Finishing.

    Raises TrackingUnavailable when MLflow is away, and RunDeleted until the run is restored (try again), any other
    TrackingError when a person has to decide.
    """
    status, spec, metadata = job.status, job.spec, job.metadata
    if spec.output is None or status.model is None or status.run is None:
        raise DigestMismatch("the training ended, but the launcher reported no model or no run")
    uri, digest = status.model.uri or "", status.model.digest or ""
    found = await ledger.find_run(status.run.experiment_id or "", metadata.uid)
    if found is None:
        await ledger.check_run(status.run.id)
    run = verify(found, uri, digest)
    gates, metrics = spec.evaluation.gates if spec.evaluation else (), metrics_of_model(run)
    shown = metrics_to_show(status.metrics, gates, metrics, run)
    gate = judge(gates, metrics) if spec.evaluation else None
    diverged = divergence(run.metrics)
    if gate is not None:
        await ledger.tag_run(run.id, {GATE_TAG: "passed" if gate.passed else f"failed: {_missed(gate, run)}"})
    if gate is not None and not gate.passed:
        return _not_met(status, gate, run, shown, diverged, now)
    model = await ledger.ensure_model(metadata.namespace, spec.output.model, tenant_user)
    version = await ledger.register(model.name, run.id, digest, uri, metadata.uid)
    reason, alias = Reason.GATE_PASSED if gate else Reason.REGISTERED, spec.output.alias
    note = f"; the training diverged ({diverged} at its end), and no gate asks for it" if diverged else ""
    if alias is not None:
        try:
            await ledger.point_alias(model.name, alias, version.version)
        except AliasReserved as error:
            # The model is good and registered; only the alias is not to be had.
            reason, note, alias = error.reason, f"{note}; {error}", None
    registered = status.model.model_copy(update={"version": version.version, "gate": gate, "alias": alias})
    pointed = f", alias {alias} points at it" if alias else ""
    why = run.tags.get(MODEL_REASON_TAG, "")
    which = f", {run.tags.get(MODEL_TAG)}: {why}" if why else ""
    message = f"registered as version {version.version} of model {model.name}{pointed}{which}{note}"
    done = status.model_copy(
        update={
            "state": State.SUCCEEDED,
            "reason": reason,
            "message": message,
            "model": registered,
            "metrics": shown,
            "completion_time": now,
        }
    )
    return Verdict(done, Event(EventType.WARNING if note else EventType.NORMAL, "Registered", message))


def _not_met(
    status: TrainingJobStatus, gate: Gate, run: Run, shown: dict[str, str], diverged: str, now: datetime
) -> Verdict:
    missed = f"not registered: {_missed(gate, run)}" + (f"; the training diverged: {diverged}" if diverged else "")
    hint = HINT if diverged else _advice(gate, run)
    message = joined(missed, hint)
    failure = Failure(
        class_=FailureClass.GATE,
        reason=Reason.GATE_FAILED,
        message=missed,
        attempt=status.attempt.number if status.attempt else None,
        hint=hint,
    )
    assert status.model is not None
    done = status.model_copy(
        update={
            "state": State.SUCCEEDED,
            "reason": Reason.GATE_FAILED,
            "message": message,
            "model": status.model.model_copy(update={"gate": gate}),
            "metrics": shown,
            "failure": failure,
            "completion_time": now,
        }
    )
    return Verdict(done, Event(EventType.WARNING, Reason.GATE_FAILED, message))


def _advice(gate: Gate, run: Run) -> str:
    if unknown := [check.metric for check in gate.checks if check.value is None and check.metric not in run.metrics]:
        logged = ", ".join(sorted(run.metrics)[:_MAX_LISTED]) or "none"
        return f"name a metric that the run has in place of {', '.join(unknown)}, in a new TrainingJob: {logged}"
    if any(check.value is None for check in gate.checks if not check.passed):
        return "call model.evaluate on the model last, and put the gate on eval_…, in a new TrainingJob"
    return "train longer or with better data, or change the gates in spec.evaluation, in a new TrainingJob"


def _missed(gate: Gate, run: Run) -> str:
    return "; ".join(_sentence(check, run) for check in gate.checks if not check.passed)


def _sentence(check: GateCheck, run: Run) -> str:
    if check.value is None and check.metric in run.metrics:
        model = run.tags.get(MODEL_TAG) or "the model"
        return (
            f"{check.metric} was not measured on {model} with the weights to be registered: evaluate it last, and put "
            "the gate on eval_…"
        )
    if check.value is None:
        return f"{check.metric} was never logged"
    bounds = [f"at least {format_decimal(check.min)}"] if check.min is not None else []
    bounds += [f"at most {format_decimal(check.max)}"] if check.max is not None else []
    return f"{check.metric} is {check.value}, must be {' and '.join(bounds)}"


def is_run_open(status: TrainingJobStatus) -> bool:
    """Whether the job has failed for good and its run has not been told (pure)."""
    run = status.run
    return status.state is State.FAILED and run is not None and bool(run.id) and run.ended is None


async def end_run(status: TrainingJobStatus, ledger: Ledger) -> TrainingJobStatus:
    """End the run of a job that failed for good, with the cause as a tag; the status that says so.

    Raises TrackingError.
    """
    assert status.run is not None
    cause = f"{status.failure.class_.value}/{status.failure.reason}" if status.failure else status.reason or ""
    await ledger.fail_run(status.run.id, status.completion_time, {OUTCOME_TAG: f"failed: {cause}"})
    return status.model_copy(update={"run": status.run.model_copy(update={"ended": True})})


def refused(status: TrainingJobStatus, error: TrackingError, now: datetime) -> Verdict:
    """The status when the registry holds something that a person has to look at."""
    failure = Failure(
        class_=FailureClass.TRACKING,
        reason=error.reason,
        message=str(error),
        attempt=status.attempt.number if status.attempt else None,
        hint=f"{HINTS.get(error.reason, HINT_OTHERWISE)}; the run and the model's files are kept",
    )
    failed = status.model_copy(
        update={
            "state": State.FAILED,
            "reason": error.reason,
            "message": joined(f"not registered: {error}", failure.hint or ""),
            "failure": failure,
            "completion_time": now,
        }
    )
    return Verdict(failed, Event(EventType.WARNING, error.reason, failed.message or ""))
