"""One pass over a TrainingJob: read it and everything of it live, plan, apply. The I/O around `plan` and `finish`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import aiohttp

from headrace.api.trainingjob import FailureClass, State, TrainingJob, to_status_dict
from headrace.clock import utc_now
from headrace.kube.apply import apply
from headrace.kube.client import KubeClient
from headrace.kube.errors import NotOurs, Refused
from headrace.kube.events import FAILED_CREATE, latest_event
from headrace.kube.keys import Key
from headrace.kube.ownership import is_owned
from headrace.kube.plan import Plan
from headrace.kube.resources import CONFIGMAPS, DEPLOYMENTS, JOBS, MODELSERVICES, PODS, TRAININGJOBS, Object
from headrace.labels import MODEL_SERVICE, TRAINING_JOB, TRAINING_JOB_UID, TRIAL_OF
from headrace.sandbox import FAILED_SANDBOX
from headrace.scrape import read_bounded, url_of
from headrace.settings import Settings
from headrace.tenancy.objects import TENANT_CONFIGMAP
from headrace.tracking.errors import ExperimentDeleted, RunDeleted, TrackingError, TrackingUnavailable
from headrace.tracking.ledger import Ledger, experiment_name, model_name
from headrace.training.approval import (
    NOT_ENFORCED,
    UNTRUSTED,
    decided,
    has_marks,
    is_unrecorded,
    needs_approval,
    unmark,
    untold,
)
from headrace.training.approving import record_decision
from headrace.training.baseline import BaselineUnusable, alias_to_resolve, version_of
from headrace.training.failures import is_unprepared
from headrace.training.finish import end_run, finish, is_run_open
from headrace.training.job import attempt_name
from headrace.training.observed import Job, Observed, Pod, Source, read_job, read_pod, read_source
from headrace.training.open_runs import OpenRun, OpenRuns
from headrace.training.plan import after_refusal, plan
from headrace.training.record import read_live
from headrace.training.release import release
from headrace.training.schedule.reconcile import ScheduleReconciler
from headrace.training.stage_status import is_run_untold, run_uids, run_under_way
from headrace.training.stages import part_of
from headrace.training.states import FINAL_STATES, Reason
from headrace.training.status import finish_status
from headrace.training.step import POLL_ENDING, POLL_RUNNING, POLL_WAITING
from headrace.training.tuning.ask import ask_of
from headrace.training.tuning.keep import MOST_DECIDED, served_by, undecided
from headrace.training.tuning.trial import Trial, read_trial
from headrace.training.verdict import refused
from headrace.training.view import Problem, Start
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.protocol.report import Live
from headrace_common.protocol.trials import MAX_ANSWER_BYTES, PATH, Answer, parse_answer
from headrace_common.tags import OUTCOME_TAG

log = logging.getLogger(__name__)

POLL_UNTOLD = 30.0
NO_MLFLOW = "this installation has no MLflow any more: set mlflow.enabled or mlflow.url in the chart's values"
MAX_PROGRESS_BYTES = 64 * 1024
ANSWER_SECONDS = 10.0  # parameters are chosen meanwhile


class TrainingReconciler:
    """`client` is the guarded one; `http` reads /progress; `ledger` is None where no MLflow is configured."""

    def __init__(
        self,
        client: KubeClient,
        http: aiohttp.ClientSession,
        settings: Settings,
        ledger: Ledger | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._open_runs = OpenRuns(client, settings.operator_namespace)
        self._http = http
        self._settings = settings
        self._ledger = ledger
        self._now = now
        self._schedules = ScheduleReconciler(client, settings, now)

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look, None when something has to change first."""
        live = await self._client.get(TRAININGJOBS, key.namespace, key.name)
        if live is None:
            return await self._let_go(key)
        job = TrainingJob.model_validate(live)
        if job.spec.schedule is not None:
            return await self._schedules.reconcile(job, job.spec.schedule, live)
        observed = await self._observe(job)
        now = self._now()
        if job.status.state is State.FINISHING and job.metadata.deletion_timestamp is None:
            return await self._finish(job, live, observed, now)
        if is_unrecorded(job.status) and job.metadata.deletion_timestamp is None:
            return await self._record_decision(job, live, observed, now)
        start = await self._start(job, observed)
        planned = plan(job, observed, start, now, self._settings)
        if is_run_open(job.status) and planned.status is not None:
            planned = await self._end_run(job, planned)
        if planned.creates and start.experiment_id:
            # What another job of this name has left is over by now.
            await self._end_runs_left(key)
            await self._open_runs.remember(OpenRun(job.metadata.uid, key.namespace, key.name, start.experiment_id))
        again = await self._apply(job, live, planned, now)
        if planned.status is not None and planned.status.get("state") == State.SUCCEEDED:
            await self._forget_run(job)
        return again

    async def _apply(self, job: TrainingJob, live: Object, planned: Plan, now: datetime) -> float | None:
        try:
            return await apply(planned, self._client, TRAININGJOBS, live)
        except (Refused, NotOurs) as error:
            # The plan's status has been written by then.
            fresh = await self._client.get(TRAININGJOBS, job.metadata.namespace, job.metadata.name)
            if fresh is None or fresh["metadata"]["uid"] != job.metadata.uid:
                return 0.0
            job = TrainingJob.model_validate(fresh)
            if isinstance(error, Refused):
                return await apply(after_refusal(job, error, now, self._settings), self._client, TRAININGJOBS, fresh)
            waiting = job.status.evolve(state=State.PENDING, reason=Reason.NAME_IN_USE, message=str(error))
            await apply(Plan(status=finish_status(job, waiting, now)), self._client, TRAININGJOBS, fresh)
            return POLL_WAITING

    async def _observe(self, job: TrainingJob) -> Observed:
        namespace, name = job.metadata.namespace, job.metadata.name
        labels = f"{TRAINING_JOB}={name}"
        # Jobs before pods: a Job that is over has no pods that a later list would not show.
        jobs = tuple(read_job(obj) for obj in await self._client.list(JOBS, namespace, labels))
        pods = await self._client.list(PODS, namespace, labels)
        labelled = tuple(read_pod(obj) for obj in pods if _uid_label(obj) == job.metadata.uid)
        # Anybody in the namespace can write labels: what no Job of an attempt made is no training pod.
        ours = tuple(pod for pod in labelled if pod.job == attempt_name(name, pod.attempt))
        strangers = tuple(read_pod(obj) for obj in pods if _uid_label(obj) != job.metadata.uid)
        trials = await self._trials(job)
        return Observed(
            jobs=jobs,
            pods=await self._with_sandboxes(job, ours),
            refusal=await self._refusal(job, jobs, ours),
            source=await self._source(job),
            live=await self._progress(job, ours),
            strangers=strangers,
            trials=trials,
            kept_because=await self._kept_because(job, trials),
            answer=await self._answer(job, ours, trials),
        )

    async def _with_sandboxes(self, job: TrainingJob, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
        """With why a sandbox could not be made, which the kubelet says in an Event only. One pod is asked about, as
        one is told.
        """
        now, attempt = self._now(), job.status.attempt
        current = sorted(
            (p for p in pods if attempt is not None and p.attempt == attempt.number), key=lambda p: p.index
        )
        waiting = (pod for pod in current if not pod.is_over and pod.deleted_at is None and is_unprepared(pod, now))
        if (stuck := next(waiting, None)) is None:
            return pods
        latest = await latest_event(self._client, job.metadata.namespace, stuck.uid, FAILED_SANDBOX)
        told = replace(stuck, no_sandbox=str((latest or {}).get("message") or ""))
        return tuple(told if pod is stuck else pod for pod in pods)

    async def _trials(self, job: TrainingJob) -> tuple[Trial, ...]:
        """What has become of its trials, each a TrainingJob that belongs to it."""
        if job.spec.tuning is None:
            return ()
        found = await self._client.list(TRAININGJOBS, job.metadata.namespace, f"{TRIAL_OF}={job.metadata.name}")
        trials = (read_trial(job, obj) for obj in found)
        return tuple(sorted(filter(None, trials), key=lambda trial: trial.number))

    async def _kept_because(self, job: TrainingJob, trials: tuple[Trial, ...]) -> dict[str, str]:
        """What refers to the model of a trial that may be removed, by the trial's uid, as far as MLflow says it: the
        others are asked for at the next look. Of which MLflow refuses to say it is kept.
        """
        found: dict[str, str] = {}
        if self._ledger is None or job.status.state in FINAL_STATES or part_of(job).tunes is None:
            return found
        if not (open_ones := undecided(job, trials)[:MOST_DECIDED]):
            return found
        namespace = job.metadata.namespace
        # A revision that still serves what its service's spec named before is known by its Deployment alone.
        services = await self._client.list(MODELSERVICES, namespace)
        serving = (*services, *await self._client.list(DEPLOYMENTS, namespace, MODEL_SERVICE))
        for trial in open_ones:
            try:
                folder = await self._ledger.model_folder(trial.told.run)
                version = await self._ledger.version_of(trial.told.run, folder)
            except TrackingUnavailable:
                return found
            except TrackingError as error:
                found[trial.uid] = f"MLflow does not say whether a version refers to it: {error}"
                continue
            made = "" if version is None else f"version {version.version} of model {version.model} refers to it"
            found[trial.uid] = made or served_by(serving, trial, folder)
        return found

    async def _answer(self, job: TrainingJob, pods: tuple[Pod, ...], trials: tuple[Trial, ...]) -> Answer | None:
        """What the pod of the tuning says to what has become of the trials; None where it does not answer."""
        part, chief = part_of(job), _chief(job, pods)
        if part.tunes is None or chief is None or job.status.state in FINAL_STATES:
            return None
        asked = ask_of(job, trials)
        body = await read_bounded(
            self._http,
            url_of(chief.ip, part.tunes.port, PATH),
            MAX_ANSWER_BYTES,
            posted=json.dumps(asked.as_json()).encode(),
            seconds=ANSWER_SECONDS,
        )
        return None if body is None else parse_answer(_parse_json(body), part.tunes, asked)

    async def _refusal(self, job: TrainingJob, jobs: tuple[Job, ...], pods: tuple[Pod, ...]) -> str:
        """What the Job controller's last Event says of pods that it could not make; read where some are missing."""
        attempt = job.status.attempt
        batch = next((found for found in jobs if attempt is not None and found.name == attempt.job), None)
        there = sum(attempt is not None and pod.attempt == attempt.number for pod in pods)
        if batch is None or batch.complete or batch.failed or batch.suspended or there >= part_of(job).strategy.workers:
            return ""
        latest = await latest_event(self._client, job.metadata.namespace, batch.uid, FAILED_CREATE)
        return str((latest or {}).get("message") or "")

    async def _source(self, job: TrainingJob) -> Source | None:
        """The pinned copy of the script, or before there is one the user's ConfigMap."""
        part = part_of(job)
        reference = part.source.config_map
        if reference is None or job.status.state in FINAL_STATES or _is_under_way(job):
            return None
        if job.status.source is not None:
            pinned = await self._client.get(CONFIGMAPS, job.metadata.namespace, part.source_copy)
            # An earlier job of the same name may have left one that the garbage collector has not come to.
            if pinned is not None and is_owned(pinned, job.metadata.uid):
                return read_source(pinned)
        found = await self._client.get(CONFIGMAPS, job.metadata.namespace, reference.name)
        return read_source(found) if found is not None else None

    async def _progress(self, job: TrainingJob, pods: tuple[Pod, ...]) -> Live | None:
        """What the chief of the current attempt answers on /progress; None when it does not."""
        chief = _chief(job, pods)
        if chief is None or job.status.state in FINAL_STATES:
            return None
        url = url_of(chief.ip, PROGRESS_PORT, "/progress")
        body = await read_bounded(self._http, url, MAX_PROGRESS_BYTES)
        return read_live(_parse_json(body)) if body is not None else None

    async def _start(self, job: TrainingJob, observed: Observed) -> Start:
        """Where the run and the checkpoints of the next attempt belong; the experiment is made if need be. At the end
        of an attempt that makes a dataset: where that lies.
        """
        if job.status.state in FINAL_STATES:
            return Start()
        if _may_have_prepared(job, observed):
            tenant = await self._tenant(job.metadata.namespace)
            bucket = (tenant or {}).get("bucket", "")
            return Start(bucket=bucket, problem=None if bucket else _no_bucket(job, tenant))
        if _is_under_way(job) or job.spec.suspend:
            return Start()
        tenant = await self._tenant(job.metadata.namespace)
        keeps = job.spec.storage is not None or job.spec.prepare is not None
        bucket = (tenant or {}).get("bucket", "") if keeps else ""
        if job.spec.prepare is not None and not bucket:
            return Start(problem=_no_bucket(job, tenant))
        if needs_approval(job) and job.status.attempt is None and not self._settings.approvals_enforced:
            return Start(problem=Problem(FailureClass.CONFIG, Reason.APPROVAL_NOT_ENFORCED, NOT_ENFORCED))
        if job.spec.tracking is None:
            return Start(bucket=bucket)
        if self._ledger is None:
            message = "spec.tracking names an experiment, but this installation has no MLflow"
            return Start(problem=Problem(FailureClass.CONFIG, Reason.TRACKING_NOT_CONFIGURED, message))
        if not tenant:
            return Start(problem=_no_tenant(job))
        name, user = job.spec.tracking.experiment, tenant.get("mlflowUser", "")
        baseline, versions = None, 0
        try:
            experiment = await self._ledger.ensure_experiment(
                job.metadata.namespace, name, tenant.get("bucket", ""), user
            )
            runs = (run_under_way(job.status), job.status.run)
            for run_id in dict.fromkeys(run.id for run in runs if run and run.id):
                await self._ledger.check_run(run_id)
            if is_run_untold(job):
                await self._ledger.check_run_of(experiment.id, job.metadata.uid)
            if (alias := alias_to_resolve(job)) and job.spec.output is not None:
                model = model_name(job.metadata.namespace, job.spec.output.model)
                baseline = version_of(alias, await self._ledger.resolve(model, alias))
                versions = await self._ledger.count_versions(model) if baseline is None else 0
        except (TrackingUnavailable, RunDeleted) as error:
            return Start(problem=Problem(FailureClass.TRACKING, error.reason, str(error), patient=True))
        except BaselineUnusable as error:
            return Start(problem=Problem(FailureClass.DATA, error.reason, str(error)))
        except TrackingError as error:
            # A job that has trained already is not lost for it.
            patient = isinstance(error, ExperimentDeleted) and job.status.run is not None
            return Start(problem=Problem(FailureClass.CONFIG, error.reason, str(error), patient))
        run_experiment = experiment_name(job.metadata.namespace, name)
        return Start(experiment.id, bucket, run_experiment, baseline=baseline, versions=versions)

    async def _tenant(self, namespace: str) -> dict[str, str] | None:
        """What the namespace's ConfigMap says of it; None where there is none."""
        found = await self._client.get(CONFIGMAPS, namespace, TENANT_CONFIGMAP)
        return dict(found.get("data") or {}) if found is not None else None

    async def _finish(self, job: TrainingJob, live: Object, observed: Observed, now: datetime) -> float | None:
        patches = release(job.metadata.namespace, observed.pods, now)
        if self._ledger is None:
            error = TrackingUnavailable(NO_MLFLOW)
            return await self._wait_for_tracking(job, live, patches_of=Plan(patches=patches), error=error, now=now)
        if needs_approval(job) and has_marks(job):
            # From the next status on an approval counts, and the policy takes none before: nobody has checked this one.
            planned = Plan(patches=(*patches, unmark(job)), events=(UNTRUSTED,), requeue_after=POLL_ENDING)
            return await apply(planned, self._client, TRAININGJOBS, live)
        tenant = await self._tenant(job.metadata.namespace)
        try:
            verdict = await finish(job, self._ledger, (tenant or {}).get("mlflowUser", ""), now)
        except (TrackingUnavailable, RunDeleted) as error:
            return await self._wait_for_tracking(job, live, patches_of=Plan(patches=patches), error=error, now=now)
        except TrackingError as final:
            verdict = refused(job.status, final, now)
        status = finish_status(job, verdict.status, now)
        done = Plan(status=status, patches=patches, events=(verdict.event,), requeue_after=POLL_ENDING)
        again = await apply(done, self._client, TRAININGJOBS, live)
        if status["state"] == State.SUCCEEDED:
            await self._forget_run(job)
        return again

    async def _record_decision(self, job: TrainingJob, live: Object, observed: Observed, now: datetime) -> float | None:
        """Status has what a person decided; MLflow has to be told."""
        patches = release(job.metadata.namespace, observed.pods, now)
        try:
            if self._ledger is None:
                raise TrackingUnavailable(NO_MLFLOW)
            verdict = decided(job, await record_decision(job, self._ledger))
        except TrackingError as error:
            waiting = finish_status(job, untold(job.status, error), now)
            planned = Plan(status=waiting, patches=patches, requeue_after=POLL_UNTOLD)
        else:
            status = finish_status(job, verdict.status, now)
            planned = Plan(status=status, patches=patches, events=(verdict.event,), requeue_after=POLL_ENDING)
        return await apply(planned, self._client, TRAININGJOBS, live)

    async def _forget_run(self, job: TrainingJob) -> None:
        """The job has just come to its end, and so has its run."""
        if job.spec.tracking is not None and job.status.state not in FINAL_STATES:
            await self._open_runs.forget(job.metadata.uid)

    async def _end_run(self, job: TrainingJob, planned: Plan) -> Plan:
        """The job has failed for good, and its run may say RUNNING: the launcher does not always live to end it."""
        if self._ledger is None:
            return planned
        try:
            ended = await end_run(job, self._ledger)
        except TrackingError as error:
            log.info("%s/%s: its run is still to be ended: %s", job.metadata.namespace, job.metadata.name, error)
            again = POLL_UNTOLD if planned.requeue_after is None else min(planned.requeue_after, POLL_UNTOLD)
            return replace(planned, requeue_after=again)
        await self._open_runs.forget(job.metadata.uid)
        return replace(planned, status=to_status_dict(ended))

    async def _wait_for_tracking(
        self, job: TrainingJob, live: Object, *, patches_of: Plan, error: TrackingError, now: datetime
    ) -> float | None:
        waiting = job.status.evolve(
            reason=error.reason,
            message=f"{error}; the model's files are kept in S3, and it is registered afterwards",
        )
        planned = replace(patches_of, status=finish_status(job, waiting, now), requeue_after=POLL_RUNNING)
        return await apply(planned, self._client, TRAININGJOBS, live)

    async def _let_go(self, key: Key) -> float | None:
        """The job is gone: pods that it left are let go as they end, and then its run is ended."""
        pods = await self._client.list(PODS, key.namespace, f"{TRAINING_JOB}={key.name}")
        left = tuple(read_pod(obj) for obj in pods)
        for patch in release(key.namespace, left, self._now()):
            await self._client.merge_patch(*patch)
        return POLL_ENDING if any(pod.held for pod in left) else await self._end_runs_left(key)

    async def _end_runs_left(self, key: Key) -> float | None:
        """Runs of jobs of this name that are gone: nothing goes on in them any more."""
        if self._ledger is None:
            return None
        tags = {OUTCOME_TAG: "killed: the TrainingJob was deleted"}
        for run in await self._open_runs.of(key.namespace, key.name):
            live = await self._client.get(TRAININGJOBS, key.namespace, key.name)
            if live is not None and live["metadata"]["uid"] == run.uid:
                continue
            try:
                for uid in run_uids(run.uid):
                    await self._ledger.kill_run(run.experiment_id, uid, self._now(), tags)
            except TrackingError as error:
                log.info("%s: the run of its deleted job is still to be ended: %s", key, error)
                return POLL_UNTOLD
            await self._open_runs.forget(run.uid)
        return None


def _chief(job: TrainingJob, pods: tuple[Pod, ...]) -> Pod | None:
    """Worker 0 of the current attempt, where it can be asked something."""
    number = job.status.attempt.number if job.status.attempt else 0
    chief = next((pod for pod in pods if pod.index == 0 and pod.attempt == number), None)
    return chief if chief is not None and chief.container_running and chief.ip else None


def _is_under_way(job: TrainingJob) -> bool:
    attempt = job.status.attempt
    return attempt is not None and attempt.finished_at is None and attempt.job_uid is not None


def _may_have_prepared(job: TrainingJob, observed: Observed) -> bool:
    """Whether the attempt under way is of a stage that makes a dataset, and its trainer has ended."""
    attempt = job.status.attempt
    if attempt is None or attempt.finished_at is not None or not part_of(job).makes:
        return False
    return any(pod.terminated is not None for pod in observed.pods_of(attempt.number))


def _no_tenant(job: TrainingJob) -> Problem:
    message = f"namespace {job.metadata.namespace!r} is not a tenant: it has no ConfigMap {TENANT_CONFIGMAP!r}"
    return Problem(FailureClass.CONFIG, Reason.TENANT_NOT_FOUND, message)


def _no_bucket(job: TrainingJob, tenant: dict[str, str] | None) -> Problem:
    if tenant is None:
        return _no_tenant(job)
    message = f"ConfigMap {TENANT_CONFIGMAP!r} of namespace {job.metadata.namespace!r} names no bucket"
    return Problem(FailureClass.CONFIG, Reason.TENANT_NOT_FOUND, message)


def _uid_label(obj: Object) -> str:
    labels: dict[str, str] = obj["metadata"].get("labels") or {}
    return labels.get(TRAINING_JOB_UID, "")


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
