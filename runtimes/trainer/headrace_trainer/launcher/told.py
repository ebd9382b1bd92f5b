"""What the script's process and those around it tell, as it comes: into the report, the run, the store.

The order of things (main) hands it over, in the main thread and one message at a time; here nothing waits.
"""

from __future__ import annotations

from typing import Any

from headrace_common.protocol.report import State
from headrace_common.tags import EXPORT_TRIAL_TAG
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.messages import (
    Ambiguous,
    Checkpoint,
    Chosen,
    Epoch,
    Evaluate,
    Exported,
    ExportFailed,
    Exporting,
    ExportTrial,
    Fit,
    FitEnd,
    Message,
    Refused,
    Replay,
    Resume,
    ScriptEnded,
    ScriptException,
    Step,
    Trained,
    Warned,
)
from headrace_trainer.launcher.model import chosen, export_trial
from headrace_trainer.launcher.model import upload as model
from headrace_trainer.launcher.report import Report, milliseconds
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.stages.kind import Stage
from headrace_trainer.launcher.store.checkpoints import Stored, Upload, Uploader
from headrace_trainer.launcher.tracking import resumed
from headrace_trainer.launcher.tracking.run import Tracker


class Told:
    """What is told in one attempt. `resumed_from` is the checkpoint that the script begins with, once it is known."""

    def __init__(
        self,
        report: Report,
        stage: Stage,
        settings: Settings,
        attempt: int,
        tracker: Tracker | None,
        uploader: Uploader | None,
    ) -> None:
        self._report = report
        self._stage = stage
        self._settings = settings
        self._attempt = attempt
        self._tracker = tracker
        self._uploader = uploader
        self._has_warned_of_grace = False
        self.resumed_from: Stored | None = None

    def take(self, message: Message, script: Script) -> None:
        """What the framework's adapter tells, or a program that has none."""
        report = self._report
        match message:
            case Fit():
                report.state = self._stage.working
                report.progress.begin(message)
                report.metrics.begin(message)
            case Replay():
                report.state = State.RESUMING
                report.progress.pass_over(message)
            case Step():
                self._train(message, script)
                self._log_metrics(report.metrics.step(message))
            case Epoch():
                self._train(message, script)
                self._log_metrics(report.metrics.epoch(message))
            case Evaluate():
                self._log_metrics(report.metrics.evaluate(message, milliseconds()))
            case Checkpoint():
                self._keep(message)
            case Resume():
                self._went_on(message)
            case ScriptEnded():
                script.has_come_to_its_end = True
            case Trained():
                script.trained = message
            case Exporting():
                report.state = State.EXPORTING
            case Chosen():
                script.chosen = chosen.merged(script.chosen, message)
            case Ambiguous():
                script.ambiguous = message
            case Exported():
                script.exported = model.united(script.exported, message)
            case ExportFailed():
                script.export_problems[message.format] = message.message
            case ExportTrial():
                self._tell_trial(message)
            case ScriptException():
                script.exception = message
            case Refused():
                script.refused = message
            case Warned():
                self.warn(message)
            case FitEnd():
                pass  # its metrics are those of its last epoch

    def take_from_script(self, message: Message) -> None:
        """What a followed script says itself: how far its training is, and where its model lies, is known better."""
        match message:
            case Step():
                self._log_metrics(self._report.metrics.own_step(message))
            case Fit():
                self._report.progress.told_steps = message.steps
            case Checkpoint():
                self._keep(message)
            case _:
                log(f"a message of the script itself is left out: {type(message).__name__} is told by who follows it")

    def _train(self, message: Step | Epoch, script: Script) -> None:
        self._report.state = self._stage.working
        self._report.progress.advance(message)
        script.steps_seen = max(script.steps_seen, message.step)

    def _log_metrics(self, metrics: list[Any]) -> None:
        if collision := self._report.metrics.keys.take_collision():
            self.warn(Warned("metrics", collision))
        if self._tracker is not None:
            self._tracker.log(metrics)

    def _keep(self, checkpoint: Checkpoint) -> None:
        if checkpoint.folder.parent != self._settings.paths.checkpoints:  # it is deleted when it is kept
            log(f"the checkpoint {checkpoint.folder} is not in {self._settings.paths.checkpoints} and is left out")
            return
        if self._uploader is not None:
            if self._tracker is not None:
                self._tracker.leave_unsent(checkpoint.folder)
            base, after = (self._report.metrics.base_of(fit) for fit in (checkpoint.fit, checkpoint.fit + 1))
            self._uploader.submit(Upload(checkpoint, base, after, self._report.progress.steps_per_epoch))

    def compare_with_grace(self, seconds: float | None) -> None:
        """Said while there is time: the last checkpoint of one that is stopped has to get through, too."""
        if seconds is not None and seconds > self._settings.keep_seconds and not self._has_warned_of_grace:
            self._has_warned_of_grace = True
            text = (
                f"keeping a checkpoint takes {seconds:.0f} s, and a training that is stopped has "
                f"{self._settings.keep_seconds:.0f} s for it: the last one would be lost. "
                "Raise spec.checkpoint.gracePeriod"
            )
            self.warn(Warned("grace", text))

    def _went_on(self, resume: Resume) -> None:
        if self.resumed_from is None:
            return
        self._report.resume = (self.resumed_from.attempt, resume)
        self.tag_resume()

    def tag_resume(self, *, has_ended: bool = False) -> None:
        """The tag stays for good: of an attempt that has ended it does not say that something is still to come."""
        if self._report.resume is not None and self._tracker is not None:
            text = resumed.sentence(*self._report.resume, has_ended=has_ended)
            self._tracker.tag({f"headrace.resume.{self._attempt}": text})

    def _tell_trial(self, trial: ExportTrial) -> None:
        self._report.export_trial = trial
        log(export_trial.sentence(trial))
        if self._tracker is not None:
            self._tracker.tag({EXPORT_TRIAL_TAG: export_trial.sentence(trial)})

    def warn(self, warned: Warned) -> None:
        log(f"{warned.subject}: {warned.message}")
        self._report.warnings[warned.subject] = warned.message
        if self._tracker is not None:
            self._tracker.tag({f"headrace.warning.{warned.subject}": warned.message})
