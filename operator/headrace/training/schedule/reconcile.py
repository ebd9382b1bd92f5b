"""One pass over a TrainingJob with a schedule: its CronJob, the trainings, its status. The I/O around `plan`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from headrace.api.trainingjob import Schedule, TrainingJob
from headrace.kube.apply import apply
from headrace.kube.client import KubeClient
from headrace.kube.errors import NotOurs, Refused
from headrace.kube.events import FAILED_CREATE, latest_event
from headrace.kube.ownership import is_owned
from headrace.kube.plan import Plan
from headrace.kube.resources import CRONJOBS, JOBS, TRAININGJOBS, Object
from headrace.labels import SCHEDULE
from headrace.settings import Settings
from headrace.training.schedule.objects import differs, render_cron_job, render_training
from headrace.training.schedule.observed import (
    CronJob,
    Observed,
    Refusal,
    Run,
    Training,
    is_run,
    read_complaint,
    read_cron_job,
    read_run,
    read_training,
)
from headrace.training.schedule.plan import plan, to_begin
from headrace.training.schedule.problems import MANAGED_BY_MISSING, of_name, of_refusal
from headrace.training.view import Problem


class ScheduleReconciler:
    """`client` is the guarded one."""

    def __init__(self, client: KubeClient, settings: Settings, now: Callable[[], datetime]) -> None:
        self._client = client
        self._settings = settings
        self._now = now

    async def reconcile(self, job: TrainingJob, schedule: Schedule, live: Object) -> float | None:
        """Seconds until the next look, None when something has to change first."""
        if job.metadata.deletion_timestamp is not None:
            return None
        found = await self._client.get(CRONJOBS, job.metadata.namespace, job.metadata.name)
        cron_job = read_cron_job(found) if found is not None and is_owned(found, job.metadata.uid) else None
        problem = await self._keep(job, schedule, live, cron_job)
        runs = await self._runs(job, cron_job) if cron_job is not None else ()
        observed = Observed(cron_job, runs, await self._complaint(job, cron_job, runs))
        begun = {run.job.uid: await self._begin(live, run) for run in to_begin(observed, schedule, self._now())}
        observed = replace(observed, runs=tuple(begun.get(run.job.uid, run) for run in runs))
        return await apply(plan(job, schedule, observed, problem, self._now()), self._client, TRAININGJOBS, live)

    async def _keep(self, job: TrainingJob, schedule: Schedule, live: Object, found: CronJob | None) -> Problem | None:
        """Make the CronJob what is asked for, and say what is against that."""
        is_unmanaged = found is not None and not found.keeps_manager
        # The cluster would run the Jobs itself: there are to be none.
        kept = schedule.model_copy(update={"suspend": True}) if is_unmanaged else schedule
        wanted = render_cron_job(job, kept, self._settings)
        if found is None or differs(found, wanted):
            try:
                await apply(Plan(applies=((CRONJOBS, wanted),)), self._client, TRAININGJOBS, live)
            except Refused as error:
                return of_refusal(error, found)
            except NotOurs as error:
                return of_name(error)
        return MANAGED_BY_MISSING if is_unmanaged else None

    async def _runs(self, job: TrainingJob, cron_job: CronJob) -> tuple[Run, ...]:
        namespace, labels = job.metadata.namespace, f"{SCHEDULE}={job.metadata.name}"
        jobs = [obj for obj in await self._client.list(JOBS, namespace, labels) if is_run(obj, cron_job)]
        trainings = await self._client.list(TRAININGJOBS, namespace, labels) if jobs else []
        runs = [replace(run, training=_training_of(run, trainings)) for run in map(read_run, jobs)]
        complete = [await self._with_hidden(namespace, run) for run in runs]
        return tuple(sorted(complete, key=lambda run: (run.made_at is None, run.made_at, run.job.name)))

    async def _complaint(self, job: TrainingJob, cron_job: CronJob | None, runs: tuple[Run, ...]) -> str:
        if cron_job is None:
            return ""
        event = await latest_event(self._client, job.metadata.namespace, cron_job.uid, FAILED_CREATE)
        return read_complaint(event, runs)

    async def _with_hidden(self, namespace: str, run: Run) -> Run:
        """A training that has lost its label is one all the same."""
        if run.training is not None or run.is_over:
            return run
        found = await self._client.get(TRAININGJOBS, namespace, run.job.name)
        return replace(run, training=_training_of(run, [found] if found is not None else []))

    async def _begin(self, template: Object, run: Run) -> Run:
        wanted = render_training(template, run)
        try:
            await apply(Plan(creates=((TRAININGJOBS, wanted),)), self._client, JOBS, {"metadata": {"uid": run.job.uid}})
        except Refused as error:
            return replace(run, refusal=Refusal(str(error)[:768], error.for_good))
        except NotOurs as error:
            return replace(run, refusal=Refusal(str(error), for_good=True))
        return replace(run, training=Training(run.job.name))


def _training_of(run: Run, trainings: list[Object]) -> Training | None:
    return next((read_training(obj) for obj in trainings if is_owned(obj, run.job.uid)), None)
