"""The job's run in MLflow, or a stage's below it, over all attempts: found by the tag `headrace.uid` or made, written
by the chief's launcher alone.

Metrics wait in a spool on disk and go in batches from one thread, with the times at which they were measured; MLflow
may be away for as long as it takes. No (key, step) is logged twice: what the run has already is read once, when it is
found, and left out when steps are trained again (`logged`). A resent batch is harmless, since MLflow keeps one of two
equal metrics. What waits goes with each checkpoint (`unsent`), so that it outlives the pod. An attempt that a later one
has followed writes nothing more (`fence`).

System metrics are worth less: they wait in a spool of their own that has a bound, are sent after the others, and do not
go with checkpoints.

A run that somebody has deleted in MLflow is looked at every few seconds: once it is restored it gets what was measured
meanwhile, as if MLflow had been away. The end does not wait for that.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_common.protocol.config import Scalar, Tracking
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import Condition
from headrace_common.tags import ATTEMPT_TAG, DESCRIPTION_TAG, PARENT_TAG, UID_TAG
from headrace_trainer.launcher.failures.judge import Failed, Failure, terminated
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.settings import Paths
from headrace_trainer.launcher.texts import one_line
from headrace_trainer.launcher.tracking import unsent
from headrace_trainer.launcher.tracking.fence import Fence, RunDeleted, Superseded
from headrace_trainer.launcher.tracking.identity import RunIdentity
from headrace_trainer.launcher.tracking.logged import Logged
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import (
    METRICS_PER_BATCH,
    Missing,
    MLflow,
    Refused,
    Rejected,
    Run,
    Unavailable,
    UsedDataset,
)
from headrace_trainer.launcher.tracking.spool import Spool

_NO_GRANT = "The namespace's MLflow user needs EDIT on the experiment: run `headrace tenant add NAMESPACE` again."
_UNKNOWN_USER = (
    "MLflow's user name and password come with the S3 keys: name the namespace's Secret (headrace-storage) in "
    "spec.storage.secretRef; if it is named, run `headrace tenant add NAMESPACE` again."
)
# A curve is looked at while it begins; a training of hours is not worth more requests than somebody may look at.
_FIRST_SECONDS, _FIRST_FLUSH_SECONDS, _FLUSH_SECONDS = 60.0, 2.0, 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_LEAST_BATCH = 50
_IDLE_LOOK_SECONDS = 15.0
_MOST_SYSTEM_BYTES = 4 << 20


@dataclass(frozen=True)
class End:
    """What to leave the run with. An interrupted run stays RUNNING: `status` is None."""

    status: str | None
    time: int


class Tracker:
    """Make it, `start` it, `log` to it, `close` it. Only `start` and `close` wait."""

    def __init__(
        self,
        tracking: Tracking,
        identity: RunIdentity,
        attempt: int,
        parameters: Mapping[str, Scalar],
        client: MLflow,
        paths: Paths,
    ) -> None:
        self._tracking = tracking
        self._identity = identity
        self._attempt = attempt
        self._parameters = {name: v if isinstance(v, str) else json.dumps(v) for name, v in parameters.items()}
        self._client = client
        self._fence = Fence(client, attempt)
        self._spool = Spool(paths.spool)
        self._system_spool = Spool(paths.system_spool, _MOST_SYSTEM_BYTES)
        self._leaves_system_out = False
        self._changed = threading.Condition()
        self._tags: dict[str, str] = {}
        self._datasets: tuple[UsedDataset, ...] = ()
        self._end: End | None = None
        self._logged: Logged | None = None
        self._batch_size = METRICS_PER_BATCH
        self._problem: Unavailable | Refused | RunDeleted | None = None
        self._is_over = False
        self._superseded: Superseded | None = None
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.run: Run | None = None

    @property
    def condition(self) -> Condition:
        """Whether MLflow takes what is measured."""
        if isinstance(self._problem, RunDeleted):
            return Condition.RUN_DELETED
        return Condition.OK if self._problem is None else Condition.BUFFERING

    @property
    def was_started(self) -> bool:
        """Whether there is anything to close."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Find or make the run. MLflow may be away, then it is tried later; raises Failed (TrackingForbidden) where
        it refuses, (RunDeleted) where somebody has deleted the run, and (Terminated) where a later attempt has it: then
        nothing here is of use to anybody.
        """
        try:
            self._open()
        except Unavailable as error:
            self._note(error)
        except Superseded as error:
            raise Failed(terminated(str(error))) from error
        except RunDeleted as error:
            raise Failed(self._run_deleted(error)) from error
        except (Refused, Rejected) as error:
            raise Failed(self._forbidden(error)) from error
        self._thread.start()

    def log(self, metrics: list[Metric]) -> None:
        """Have the metrics logged in the end."""
        if self._superseded is None:
            self._spool.append(metrics)

    def log_system(self, metrics: list[Metric]) -> None:
        """Have metrics of the container logged in the end, as far as there is room for them until then."""
        if self._superseded is not None:
            return
        was_full, self._leaves_system_out = self._leaves_system_out, not self._system_spool.append(metrics)
        if self._leaves_system_out and not was_full:
            log("MLflow has been away for long: system metrics are left out until it is back")

    def leave_unsent(self, checkpoint: Path) -> None:
        """Put what MLflow has not taken yet into a checkpoint's folder, for an attempt that goes on from there."""
        unsent.write(self._spool, checkpoint)

    def take_unsent(self, checkpoint: Path) -> None:
        """Have logged what an earlier attempt has left in the checkpoint that this one goes on from."""
        self.log(unsent.read(checkpoint))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Have the run tagged in the end, in one line each: a page shows tags in a table, but for the description."""
        with self._changed:
            self._tags.update({n: text if n == DESCRIPTION_TAG else one_line(text) for n, text in tags.items()})
            self._changed.notify_all()

    def log_dataset(self, dataset: UsedDataset) -> None:
        """Have the dataset among the run's inputs in the end."""
        with self._changed:
            self._datasets = (*self._datasets, dataset)
            self._changed.notify_all()

    def await_run(self, seconds: float) -> Run:
        """The run, once there is one. Raises Failed (Tracking…, and Terminated where a later attempt has it)."""
        with self._changed:
            self._changed.wait_for(lambda: self.run is not None or self._is_over or self._is_deleted, seconds)
        if self._superseded is not None:
            raise Failed(terminated(str(self._superseded)))
        if self.run is None:
            raise Failed(self._failure(f"no run could be made within {seconds:.0f} s"))
        return self.run

    def close(self, status: str | None, seconds: float) -> None:
        """Send all that is left, then leave the run with `status`. Raises Failed (Tracking…) when late, and at once
        where the run is deleted.
        """
        with self._changed:
            self._end = End(status, time.time_ns() // 1_000_000)
            if self._is_deleted:
                self._problem = None  # it may have been restored since: there is one more look
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over or self._is_deleted, seconds)
            if not self._is_over:
                raise Failed(self._failure(f"MLflow did not take all of the run within {seconds:.0f} s"))

    def history(self, key: str) -> list[tuple[int, float]]:
        """What this run has of a metric, empty where MLflow cannot say now."""
        if self.run is None:
            return []
        try:
            return self._client.history(self.run.id, key)
        except (Unavailable, Refused, Rejected) as error:
            log(f"the history of {key} cannot be read, replayed steps are not compared with it: {error}")
            return []

    def _open(self) -> None:
        """Searched for again before each try to create: the answer to the last one may have been lost."""
        identity = self._identity
        tags = {**identity.tags, ATTEMPT_TAG: str(self._attempt)}
        if identity.parent is not None:
            tags[PARENT_TAG] = self._find_or_make(identity.parent).id
        run = self._client.find_run(self._tracking.experiment_id, UID_TAG, identity.uid)
        if run is None:
            run = self._create(identity.name, tags)
        else:
            self._fence.check(run)
            self._client.update_run(run.id, "RUNNING", None)
            self._client.set_tags(run.id, tags)
            self._fence.take()
        try:
            self._client.log_params(run.id, self._parameters)
        except Rejected as error:
            log(f"MLflow does not take the parameters: {error}")
        self._logged = Logged(self._client, run)
        with self._changed:
            self.run = run
            self._changed.notify_all()

    @property
    def _is_deleted(self) -> bool:
        return isinstance(self._problem, RunDeleted)

    def _find_or_make(self, parent: RunIdentity) -> Run:
        """The run above this one: it is there and open, and nothing is written to it. No attempt has it yet."""
        run = self._client.find_run(self._tracking.experiment_id, UID_TAG, parent.uid)
        if run is not None and run.deleted:
            raise RunDeleted(f"run {run.id}, the job's, was deleted in MLflow, by itself or with its experiment")
        return run or self._create(parent.name, parent.tags)

    def _create(self, name: str, tags: Mapping[str, str]) -> Run:
        try:
            return self._client.create_run(self._tracking.experiment_id, name, time.time_ns() // 1_000_000, tags)
        except Rejected as error:
            if self._client.is_experiment_deleted(self._tracking.experiment_id):
                raise RunDeleted("the experiment was deleted in MLflow, and takes no run") from error
            raise

    def _work(self) -> None:
        try:
            self._send_until_the_end()
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _send_until_the_end(self) -> None:
        pause, began = _FIRST_PAUSE, time.monotonic()
        while True:
            try:
                if self._send_all():
                    return
            except Superseded as error:
                log(str(error))
                self._superseded = error
                return
            except RunDeleted as error:
                self._wait_for_restoration(error)
            except (Unavailable, Refused) as error:
                self._note(error)
                # A server that is slow rather than away would never take a batch for which a call is too short.
                self._batch_size = max(self._batch_size // 2, _LEAST_BATCH)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Rejected as error:
                # Not of a metric, those are sorted out one by one: a run that cannot be opened, a tag, an end.
                self._note(Refused(str(error)))
                time.sleep(_LONGEST_PAUSE)
            else:
                self._note(None)
                pause = _FIRST_PAUSE
                is_first = time.monotonic() - began < _FIRST_SECONDS
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._end is not None or bool(self._tags or self._datasets),
                        _FIRST_FLUSH_SECONDS if is_first else _FLUSH_SECONDS,
                    )

    def _wait_for_restoration(self, deleted: RunDeleted) -> None:
        """Until the next look; the end comes with a look of its own."""
        with self._changed:
            self._note(deleted)
            self._changed.notify_all()
            had_end = self._end is not None
            self._changed.wait_for(lambda: self._end is not None and not had_end, _LONGEST_PAUSE)

    def _send_all(self) -> bool:
        """Send what there is; True when that was the end."""
        if self.run is None:
            self._open()
        run = self.run
        if run is None:
            return False
        if self._fence.seconds_since_look() > _IDLE_LOOK_SECONDS:
            self._look(run)
        for spool in (self._spool, self._system_spool):
            self._send_spool(run, spool)
        with self._changed:
            tags, datasets, end = dict(self._tags), self._datasets, self._end
        if tags or datasets or end is not None:
            self._look(run)
        if tags:
            self._client.set_tags(run.id, tags)
            with self._changed:
                self._tags = {key: value for key, value in self._tags.items() if tags.get(key) != value}
        if datasets:
            self._send_datasets(run, datasets)
            with self._changed:
                self._datasets = self._datasets[len(datasets) :]
        if end is None:
            return False
        if end.status is None:
            self._fence.look_now(run)
        else:
            self._client.update_run(run.id, end.status, end.time)
        return self._spool.is_empty

    def _send_spool(self, run: Run, spool: Spool) -> None:
        while not spool.is_empty:
            logged = self._look(run)
            batch = spool.front(self._batch_size)
            fresh = [metric for metric in batch.metrics if not logged.has(metric)]
            self._send(run, _without_repeats(fresh))
            logged.add(fresh)
            spool.take(batch)
            self._note(None)
            self._batch_size = min(self._batch_size * 2, METRICS_PER_BATCH)

    def _look(self, run: Run) -> Logged:
        """What the run has, after a look at whether it is still this attempt's."""
        now = self._fence.look(run)
        if now is not None or self._logged is None:
            self._logged = Logged(self._client, now or run)
        return self._logged

    def _send(self, run: Run, metrics: list[Metric]) -> None:
        """One batch; what MLflow rejects is found by halving, and left out with a line in the log."""
        if not metrics:
            return
        try:
            self._client.log_metrics(run.id, metrics)
        except Rejected as error:
            self._fence.look_now(run)  # a deleted run takes none
            if len(metrics) == 1:
                log(f"MLflow does not take the metric {metrics[0].key} of step {metrics[0].step}: {error}")
                return
            half = len(metrics) // 2
            self._send(run, metrics[:half])
            self._send(run, metrics[half:])

    def _send_datasets(self, run: Run, datasets: tuple[UsedDataset, ...]) -> None:
        try:
            self._client.log_datasets(run.id, datasets)
        except (Rejected, Missing) as error:  # an MLflow before 2.4 has no datasets
            self._fence.look_now(run)  # a deleted run takes none
            log(f"MLflow does not take the datasets: {error}")

    def _note(self, problem: Unavailable | Refused | RunDeleted | None) -> None:
        if problem is not None and type(problem) is not type(self._problem):
            log(f"MLflow takes nothing at the moment, metrics are kept: {problem}")
        if problem is None and self._problem is not None:
            log("MLflow answers again")
        self._problem = problem

    def _failure(self, what: str) -> Failure:
        if isinstance(self._problem, Refused):
            return self._forbidden(self._problem)
        if isinstance(self._problem, RunDeleted):
            return self._run_deleted(self._problem)
        return Failure(
            Reason.TRACKING_UNAVAILABLE,
            f"{self._tracking.url}: {what}: {self._problem}",
            "Look at the MLflow server; the next attempt resumes from the last checkpoint.",
        )

    def _run_deleted(self, problem: RunDeleted) -> Failure:
        name = self._tracking.experiment or self._tracking.experiment_id
        return Failure(
            Reason.RUN_DELETED,
            f"{self._tracking.url}: experiment {name}: {problem}",
            "Restore it in MLflow; the next attempt then resumes from the last checkpoint.",
        )

    def _forbidden(self, problem: Refused | Rejected) -> Failure:
        return Failure(
            Reason.TRACKING_FORBIDDEN,
            f"{self._tracking.url}: experiment {self._tracking.experiment or self._tracking.experiment_id}: {problem}",
            _UNKNOWN_USER if str(problem).startswith("401") else _NO_GRANT,
        )


def _without_repeats(metrics: list[Metric]) -> list[Metric]:
    """The first of each (key, step): a fit of another script version may come back to a step."""
    return list({(m.key, m.step): m for m in reversed(metrics)}.values())[::-1]
