"""PID 1: the order of things. Get ready, run the script, judge its end, deliver what it has made, leave the record.

Everything that waits for the network does so in a thread of its own and posts to one inbox; the main thread alone
changes what is reported, so it can always be stopped. Whoever asks for /progress gets it as it is between two events.
Stopping is SIGTERM: the script's process saves a checkpoint and ends, the checkpoint is uploaded, and the record says
Interrupted, all within the pod's grace.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from headrace_common.cgroup import Cgroup
from headrace_common.explanation import SUBJECT
from headrace_common.protocol.config import VARIABLE, Config
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import Outcome, State
from headrace_common.record import TerminationLog
from headrace_common.serve import ProgressServer
from headrace_trainer.launcher import environment, tables
from headrace_trainer.launcher.failures import nccl
from headrace_trainer.launcher.failures.fields import in_fields_of
from headrace_trainer.launcher.failures.judge import (
    ChildEnd,
    Failed,
    Failure,
    bad_config,
    cannot_be_run,
    judge,
    launcher_failed,
    terminated,
)
from headrace_trainer.launcher.failures.oom import MemoryWatch
from headrace_trainer.launcher.frameworks import framework_of
from headrace_trainer.launcher.inbox import (
    CheckpointStored,
    Entered,
    Event,
    GivenUp,
    Inbox,
    Noticed,
    SparkSeen,
    StopRequested,
    Task,
    TaskDone,
    ThreadDied,
)
from headrace_trainer.launcher.instructions import read_instructions
from headrace_trainer.launcher.log import log, unforeseen
from headrace_trainer.launcher.messages import Warned
from headrace_trainer.launcher.packages.install import Packages
from headrace_trainer.launcher.packages.uv import Ended
from headrace_trainer.launcher.peers import find_silent
from headrace_trainer.launcher.process import Child, ChildExited, ChildMessage
from headrace_trainer.launcher.ready import Ready, get_ready
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.settings import RECORD_SECONDS, Settings
from headrace_trainer.launcher.spark import driver
from headrace_trainer.launcher.stages.choose import stage_of
from headrace_trainer.launcher.stages.kind import Surroundings
from headrace_trainer.launcher.store.checkpoints import CheckpointStore, Uploader
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.system import gpu
from headrace_trainer.launcher.system.sampler import Sampler
from headrace_trainer.launcher.texts import one_line
from headrace_trainer.launcher.told import Told
from headrace_trainer.launcher.tracking.files import RunFiles
from headrace_trainer.launcher.tracking.identity import run_of
from headrace_trainer.launcher.tracking.mlflow import MLflow, Run
from headrace_trainer.launcher.tracking.run import Tracker

T = TypeVar("T")
_TICK = 1.0
_LOOK_SECONDS = 0.1
_RECORD_INTERVAL = 5.0
_FLUSH_AFTER_FAILURE = 15.0
_UPLOAD_AFTER_FAILURE = 30.0


class Stopped(Exception):
    """SIGTERM came, and what was under way is not to be waited for."""


class Launcher:
    """One worker's attempt."""

    def __init__(
        self, config: Config, settings: Settings, adapter: str | None, inbox: Inbox, log_file: TerminationLog
    ) -> None:
        self._config = config
        self._settings = settings
        self._framework = framework_of(config)
        # None of the framework's: the script runs by itself.
        self._adapter = self._framework.adapter and (adapter or self._framework.adapter)
        self._inbox = inbox
        self._log_file = log_file
        self._report = Report(settings.worker)
        self._changing = threading.Lock()  # of the report, by an event
        self._server = self._progress_server()
        self._script = Script()
        self._stop_at: float | None = None
        self._stopping_since = 0.0
        self._written_at = 0.0
        self._given_up: Failure | None = None
        cgroup = Cgroup(settings.paths.cgroup_membership, settings.paths.cgroup_root)
        self._memory = MemoryWatch(cgroup)
        chief = settings.worker == 0
        self._store = None
        if config.storage is not None:
            self._store = Store(config.storage, has_answered=config.job.attempt > 1)
        self._checkpoints: CheckpointStore | None = None
        self._uploader: Uploader | None = None
        if self._store is not None and config.checkpoints is not None:
            self._checkpoints = CheckpointStore(config.checkpoints, config.job.attempt, self._store)
            if chief:
                self._uploader = Uploader(
                    self._checkpoints,
                    settings.outage,
                    lambda *stored: inbox.put(CheckpointStored(*stored)),
                    lambda text: inbox.put(Noticed(Warned("checkpoint", text))),
                )
        client: MLflow | None = None
        self._packages = Packages(config, settings, self._store)
        self._tracker: Tracker | None = None
        self._sampler: Sampler | None = None
        if config.tracking is not None and chief:
            client = MLflow(
                config.tracking.url,
                os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
                os.environ.get("MLFLOW_TRACKING_PASSWORD", ""),
            )
            identity, attempt = run_of(config.job, config.stage), config.job.attempt
            self._tracker = Tracker(config.tracking, identity, attempt, config.parameters, client, settings.paths)
            self._sampler = Sampler(cgroup, settings, lambda: self._run, self._tracker.log_system)
        self._files = RunFiles(config, settings, self._store, client, self._tracker, lambda: self._stop_at)
        around = Surroundings(config, settings, self._store, self._tracker, self._report, self._files, client)
        self._stage = stage_of(around)
        self._told = Told(self._report, self._stage, settings, config.job.attempt, self._tracker, self._uploader)

    def run(self) -> int:
        """The whole attempt; the exit code of PID 1."""
        self._server.start()
        self._write_record()
        if self._sampler is not None:
            self._sampler.start()
        try:
            ready = self._wait_for(self._get_ready, when_stopped=0.0)
            if ready.script_is_due:
                self._run_tables()
                if not tables.are_all(self._config):
                    self._run_script(ready)
            self._deliver()
        except Failed as error:
            return self._fail(error.failure)
        except Stopped:
            return self._interrupt()
        except Exception as error:  # noqa: BLE001 - a fault of ours leaves a record as any other
            traceback.print_exception(error)
            return self._fail(launcher_failed(error))
        self._report.state = State.FINISHED
        self._report.conclude(Outcome.SUCCEEDED, None)
        self._write_record()
        return 0

    @property
    def _run(self) -> Run | None:
        return None if self._tracker is None else self._tracker.run

    # --- the steps ---

    def _get_ready(self) -> Ready:
        return get_ready(
            self._config,
            self._settings,
            self._stage,
            self._store,
            self._checkpoints,
            self._tracker,
            self._packages,
            lambda state: self._inbox.put(Entered(state)),
        )

    def _run_tables(self) -> None:
        """Do what is declared of tables, where it is. Raises Failed, Stopped."""
        config, settings = self._config, self._settings
        declared = None if config.prepare is None else config.prepare.tables
        if declared is None:
            return
        found = tables.environment(config, declared, settings, os.environ)
        child = Child.start(tables.command(), found, settings.paths.work, self._inbox.put, settings.paths.messages)
        self._report.state = State.TRAINING
        self._follow(child)
        failure = tables.failure(self._end_of_script(child.log_by_stream))
        self._script = Script()
        if self._stop_at is not None:
            raise Stopped
        if failure is not None:
            raise Failed(failure)
        tables.finish(config, declared, settings)

    def _run_script(self, ready: Ready) -> None:
        """Run the script to its end. Raises Failed with the cause of a bad one, Stopped where SIGTERM was the cause."""
        self._told.resumed_from = ready.resume
        if ready.resume is not None:
            self._report.checkpoint = ready.resume
            self._report.metrics.go_on_from(ready.resume.fit, ready.resume.base, ready.resume.after)
        self._look_for_gpus()
        inbox = self._inbox
        watch = driver.prepare(
            self._config,
            self._settings,
            lambda seen: inbox.put(SparkSeen(seen)),
            lambda failure: inbox.put(GivenUp(failure)),
        )
        command = environment.command(self._config, self._adapter)
        try:
            child = Child.start(
                command,
                environment.environment(self._config, self._settings, ready, self._run, os.environ),
                self._settings.paths.work,
                self._inbox.put,
                self._settings.paths.messages,
            )
        except OSError as error:
            raise Failed(cannot_be_run(command[0], error)) from error
        if self._adapter is None:  # an adapter says when training begins
            self._report.state = self._stage.working
        if watch is not None:
            watch.start()
        self._follow(child, 0.0 if watch is None else driver.END_SECONDS)
        if watch is not None:
            watch.stop()
        self._told.tag_resume(has_ended=True)
        end = self._end_of_script(child.log_by_stream)
        failure = nccl.advised(judge(end), end)
        if failure is not None and ready.streams is not None:
            failure = ready.streams.cause_of(failure)
        # A script may end with 0 because it was told to stop: it has then not trained to its end.
        if self._stop_at is not None and (failure is not None or not self._script.had_ended):
            raise Stopped
        if self._given_up is not None:
            raise Failed(self._given_up)
        if failure is not None:
            if not self._stage.has_enough():
                raise Failed(failure)
            told = f"the process that explains has ended before it was done: {one_line(failure.message)}"
            self._told.warn(Warned(SUBJECT, told))
        if ready.streams is not None and (unread := ready.streams.failure) is not None:
            self._told.warn(Warned("data", f"the script ended well, and could not read all: {unread.message}"))
        if (seen := self._report.progress.spark) is not None:
            self._report.progress.spark = seen.finished()

    def _look_for_gpus(self) -> None:
        """An adapter knows whether its framework sees the GPUs that were asked for. Of other programs nobody does: what
        may be wrong is told, and no more.
        """
        if self._adapter is None and self._config.gpus and not gpu.is_known():
            asked = f"resources ask for {self._config.gpus} GPU(s)"
            told = f"{asked}, and the container has no nvidia-smi: the driver may not be in it"
            self._told.warn(Warned("gpus", told))

    def _follow(self, child: Child, end_seconds: float = 0.0) -> None:
        """To its end, with all that it has told. What it has started is then given so many seconds to end, of which the
        grace may have fewer.
        """
        try:
            self._watch(child)
            self._linger(child, time.monotonic() + end_seconds)
        finally:
            child.close()
        self._handle_waiting()
        self._report.log_tail = child.log_tail

    def _watch(self, child: Child) -> None:
        told = killed = False
        while self._script.exit_code is None:
            self._handle_next(_RECORD_INTERVAL if self._stop_at is None else _TICK)
            if self._stop_at is not None:
                if not told:
                    child.signal(signal.SIGTERM)
                    told = True
                elif not killed and time.monotonic() > self._stopping_since + self._settings.stop_seconds:
                    log("the script's process did not end in time after SIGTERM and is killed")
                    child.signal(signal.SIGKILL)
                    killed = True
            elif self._given_up is not None and not killed:
                child.signal(signal.SIGKILL)
                killed = True
            if self._is_record_due:
                self._report.log_tail = child.log_tail
                self._write_record()

    def _linger(self, child: Child, deadline: float) -> None:
        """Until what the script has started has ended by itself, as Spark's Java does after it. It is asked for again
        and again, since nobody tells of that end.
        """
        while child.has_session:
            until = deadline
            if self._stop_at is not None:
                until = min(until, self._stopping_since + self._settings.stop_seconds)
            if time.monotonic() >= until:
                return
            self._handle_next(_LOOK_SECONDS)
            if self._is_record_due:
                self._write_record()

    def _end_of_script(self, log_by_stream: tuple[str, ...]) -> ChildEnd:
        script = self._script
        if script.exit_code is None:
            raise RuntimeError("the script has not ended")
        is_export_due = self._adapter is not None and bool(self._config.formats) and self._settings.worker == 0
        trained = script.steps_seen if script.trained is None else max(script.trained.steps, script.steps_seen)
        begun = self._told.resumed_from
        if begun is not None:
            trained += begun.base.steps + begun.step
        end = ChildEnd(
            exit_code=script.exit_code,
            trained_steps=trained,
            is_followed=self._adapter is not None,
            # It may say that a model is meant although no step was seen.
            nothing_trained_hint=self._framework.nothing_trained_hint if script.trained is None else "",
            is_cut_short=is_export_due and not script.has_come_to_its_end,
            exception=script.exception,
            refused=script.refused,
            memory_kill=self._memory.kill(),
            log_tail=self._report.log_tail,
            log_by_stream=log_by_stream,
            worker=self._settings.worker,
            workers=self._config.workers.count,
            source=self._config.source,
            resumed_in=None if begun is None else self._settings.paths.work,
        )
        return replace(end, lost_peer=self._framework.lost_peer(end))

    def _deliver(self) -> None:
        """The chief's. Raises Failed, or Stopped where the grace does not suffice."""
        if self._settings.worker > 0:
            return
        self._report.state = State.UPLOADING
        self._wait_for(lambda: self._stage.deliver(self._script), when_stopped=None)

    def _fail(self, failure: Failure) -> int:
        """Leave the record at once, then save what can be saved; after the loss of a peer hold, so that the pod whose
        failure was the first one is the first to end.
        """
        failure = in_fields_of(self._config.stage, failure)
        held_until = time.monotonic() + self._settings.peer_hold
        self._report.conclude(Outcome.FAILED, failure)
        self._write_record()
        log(f"{failure.failure_class}/{failure.reason}: {one_line(failure.message)}")
        try:
            upload = max(_UPLOAD_AFTER_FAILURE, self._settings.grace)
            self._wait_for(lambda: self._save("FAILED", upload, _FLUSH_AFTER_FAILURE), when_stopped=None)
            if failure.reason is Reason.PEER_LOST:
                self._hold(failure, held_until)
        except Stopped:
            log("stopped before all was saved")
        except Exception as error:  # noqa: BLE001 - the record of the cause stays
            log(f"not all was saved: {unforeseen(error)}")
        self._write_record()
        return failure.exit_code

    def _hold(self, failure: Failure, until: float) -> None:
        while self._stop_at is None and time.monotonic() < until:
            if failure.lost_peer is None:
                peer = self._wait_for(self._find_silent_peer, when_stopped=0.0)
                if peer is not None:
                    failure = replace(failure, lost_peer=peer)
                    self._report.failure = failure
                    self._write_record()
            self._handle_next()

    def _find_silent_peer(self) -> int | None:
        return find_silent(self._config.workers.addresses, self._settings.worker, self._server.port)

    def _interrupt(self) -> int:
        self._packages.stop()
        left = max(0.0, (self._stop_at or 0.0) - time.monotonic())
        try:
            self._wait_for(lambda: self._save(None, left, left), when_stopped=None)
        except Stopped:
            log("the grace is over before all was saved")
        except Exception as error:  # noqa: BLE001 - it was stopped, whatever comes after
            log(f"not all was saved: {unforeseen(error)}")
        stored = self._report.checkpoint
        kept = "no checkpoint was kept" if stored is None else f"the last checkpoint kept is of step {stored.step}"
        self._report.failure = terminated(f"stopped by SIGTERM; {kept}")
        self._write_record()
        return self._report.failure.exit_code

    def _save(self, status: str | None, upload_seconds: float, flush_seconds: float) -> None:
        """The last checkpoint and the metrics, as far as the time goes; what does not get through is said in the log
        only, since there is a cause already.
        """
        if self._uploader is not None and not self._uploader.wait(upload_seconds):
            log("the last checkpoint did not get through to S3")
        if self._tracker is not None and self._tracker.was_started:
            try:
                self._tracker.close(status, flush_seconds)
            except Failed as error:
                log(f"the last metrics did not get through: {error}")
        deadline = time.monotonic() + flush_seconds
        self._files.keep_artifacts(Patience(flush_seconds, lambda: time.monotonic() < deadline))
        self._files.draw_curves(deadline - time.monotonic())
        self._stage.tidy(flush_seconds)

    # --- the inbox ---

    def _wait_for(self, work: Callable[[], T], when_stopped: float | None) -> T:
        """The result of `work`, done in another thread, or its error. After SIGTERM it is waited for `when_stopped`
        seconds more, or (None) for as long as the grace lasts; then Stopped is raised.
        """
        task = Task()

        def perform() -> None:
            try:
                task.value = work()
            except (Failed, Ended) as error:
                task.error = error
            task.done = True
            self._inbox.put(TaskDone(task))

        threading.Thread(target=perform, name="task", daemon=True).start()
        while not task.done:
            if self._stop_at is not None:
                limit = self._stop_at if when_stopped is None else self._stopping_since + when_stopped
                if time.monotonic() >= limit:
                    raise Stopped
            self._handle_next()
            if self._is_record_due:
                self._write_record()
        self._handle_waiting()
        if task.error is not None:
            raise task.error
        result: T = task.value
        return result

    def _handle_next(self, seconds: float = _TICK) -> None:
        try:
            self._handle(self._inbox.get(timeout=seconds))
        except queue.Empty:
            return

    def _handle_waiting(self) -> None:
        while not self._inbox.empty():
            self._handle(self._inbox.get())

    def _handle(self, event: Event) -> None:
        with self._changing:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        match event:
            case ChildMessage(message, by_name) if by_name and self._adapter is not None:
                self._told.take_from_script(message)
            case ChildMessage(message):
                self._told.take(message, self._script)
            case ChildExited(exit_code):
                self._script.exit_code = exit_code
            case CheckpointStored(stored, seconds):
                self._report.checkpoint = stored
                self._told.compare_with_grace(seconds)
                self._write_record()
            case Noticed(warned):
                self._told.warn(warned)
            case Entered(state):
                self._report.state = state
            case SparkSeen(seen):
                self._report.progress.spark = seen
            case GivenUp(failure):
                self._given_up = failure
            case StopRequested():
                self._begin_to_stop()
            case TaskDone():
                pass  # whoever waits for it looks at the task
            case ThreadDied(error):
                raise error

    def _begin_to_stop(self) -> None:
        if self._stop_at is not None:
            return
        self._stopping_since = time.monotonic()
        self._stop_at = self._stopping_since + max(0.0, self._settings.grace - RECORD_SECONDS)
        self._script.had_ended = self._report.state in (State.EXPORTING, State.UPLOADING)
        if self._report.outcome is Outcome.RUNNING:
            self._report.conclude(
                Outcome.INTERRUPTED, terminated("stopped by SIGTERM; its last checkpoint is being kept")
            )
            self._write_record()

    # --- what is said ---

    def _progress_server(self) -> ProgressServer:
        port = self._config.progress_port
        try:
            return ProgressServer(self._settings.bind, port, self._progress)
        except OSError as error:
            raise Failed(bad_config(f"progressPort {port} cannot be served: {error}")) from error

    def _progress(self) -> dict[str, Any]:
        """The document of /progress as things are; asked for in the server's threads."""
        with self._changing:
            self._look_around()
            return self._report.as_progress()

    def _look_around(self) -> None:
        """What other threads know."""
        if self._tracker is not None:
            self._report.run = self._tracker.run
            self._report.tracking = self._tracker.condition
        if self._store is not None:
            self._report.storage_is_buffering = self._store.away

    @property
    def _is_record_due(self) -> bool:
        return time.monotonic() - self._written_at >= _RECORD_INTERVAL

    def _write_record(self) -> None:
        """At once when it matters, and else every few seconds: it may be all that outlives the pod."""
        self._look_around()
        self._log_file.write(self._report.as_record())
        self._written_at = time.monotonic()


def main() -> None:
    """Run as the pod's PID 1; does not return."""
    parser = argparse.ArgumentParser(prog="headrace_trainer", description="The launcher of a Headrace training pod.")
    parser.add_argument("--adapter", help="the module that runs the script in place of the framework's own")
    options = parser.parse_args()
    inbox: Inbox = queue.SimpleQueue()
    # SimpleQueue.put may be called from a signal handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.put(StopRequested()))
    threading.excepthook = lambda args: inbox.put(ThreadDied(args.exc_value or RuntimeError(str(args.exc_type))))
    code = _run(options.adapter, inbox)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still wait for the network; there is nothing left to wait for.
    os._exit(code)


def _run(adapter: str | None, inbox: Inbox) -> int:
    log_file = TerminationLog(Settings().paths.termination_log, _record_is_lost)
    settings = Settings()
    try:
        settings = Settings.from_environment(os.environ)
        log_file = TerminationLog(settings.paths.termination_log, _record_is_lost)
        config = read_instructions(os.environ.get(VARIABLE, ""))
        if settings.worker >= config.workers.count:
            raise Failed(
                bad_config(f"JOB_COMPLETION_INDEX is {settings.worker}, and there are {config.workers.count} workers")
            )
        _make_scratch(settings)
        launcher = Launcher(config, settings, adapter, inbox, log_file)
    except Failed as error:
        report = Report(settings.worker)
        report.conclude(Outcome.FAILED, error.failure)
        log_file.write(report.as_record())
        log(f"{error.failure.failure_class}/{error.failure.reason}: {error.failure.message}")
        return error.failure.exit_code
    return launcher.run()


def _record_is_lost(error: OSError) -> None:
    log(f"the record cannot be written: {error}")


def _make_scratch(settings: Settings) -> None:
    try:
        settings.paths.scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(bad_config(f"the launcher cannot write below {settings.paths.work}: {error}")) from error
