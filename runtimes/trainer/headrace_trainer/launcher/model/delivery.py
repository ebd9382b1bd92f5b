"""The chief's, at the end of a training: the model to S3, what else the run keeps, the run closed, its curves drawn.

Without tracking there is no run, and nothing to keep a model with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace_common import signature
from headrace_common.formats import SIGNATURE
from headrace_common.protocol.config import Config
from headrace_common.protocol.reasons import AMBIGUOUS_MODEL
from headrace_common.s3 import SCHEME, Place
from headrace_common.tags import DIGEST_TAG, MODEL_REASON_TAG, SIGNATURE_TAG
from headrace_trainer.launcher.failures.judge import Failed, Failure, bad_config
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.messages import Ambiguous, Exported
from headrace_trainer.launcher.model import chosen
from headrace_trainer.launcher.model import upload as model
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking.files import CURVES_SECONDS, RunFiles
from headrace_trainer.launcher.tracking.run import Tracker


class Delivery:
    """One attempt's; what it has delivered is in `report`."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        store: Store | None,
        tracker: Tracker | None,
        report: Report,
        files: RunFiles,
    ) -> None:
        self._config = config
        self._settings = settings
        self._store = store
        self._tracker = tracker
        self._report = report
        self._files = files

    def of_model(self, exported: Exported | None, export: model.Export, about: Mapping[str, str]) -> None:
        """What was exported, with the tags `about` it; then all the rest. Raises Failed."""
        outage, tracker = self._settings.outage, self._tracker
        if exported is not None and export.made and tracker is not None and self._store is not None:
            uri = str(self._artifacts(tracker).below(f"model/attempt-{self._config.job.attempt}"))
            self._report.model = model.upload(
                exported.folder, export.made, self._settings.paths.packages, uri, self._store, outage
            )
            self._report.model_note = export.note
            described = {SIGNATURE_TAG: signature.tag_of(exported.folder / SIGNATURE)}
            tracker.tag({DIGEST_TAG: self._report.model.digest, **described, **about, **export.tags})
        self._files.keep_artifacts(Patience(outage))
        if tracker is not None:
            try:
                tracker.close("FINISHED", outage)
            except Failed as error:
                raise Failed(self._with_place_of_model(error.failure)) from error
        self._files.draw_curves(CURVES_SECONDS)

    def of_candidates(self, ambiguous: Ambiguous) -> None:
        """None is registered that nobody has named, and none is lost: each candidate is one of the run's artifacts.
        Raises Failed.
        """
        outage, tracker, store = self._settings.outage, self._tracker, self._store
        kept, place, packages = [False] * len(ambiguous.candidates), "", self._settings.paths.packages
        if tracker is not None and store is not None:
            folder = self._artifacts(tracker).below(f"candidates/attempt-{self._config.job.attempt}")
            place = str(folder)
            for index, candidate in enumerate(ambiguous.candidates):
                if formats := model.formats_of(candidate, self._settings.paths.export):
                    model.upload(candidate.folder, formats, packages, str(folder.below(str(index + 1))), store, outage)
                    kept[index] = True
        self._report.ambiguity = chosen.ambiguity(ambiguous.candidates, kept, ambiguous.more, place)
        log(f"{AMBIGUOUS_MODEL}: {self._report.ambiguity}")
        self._files.keep_artifacts(Patience(outage))
        if tracker is not None:
            tracker.tag({MODEL_REASON_TAG: self._report.ambiguity})
            tracker.close("FINISHED", outage)
        self._files.draw_curves(CURVES_SECONDS)

    def _artifacts(self, tracker: Tracker) -> Place:
        """Where the run's artifacts lie. A gang that was cut off may still be writing: each attempt has a place of its
        own below it. Raises Failed.
        """
        run = tracker.await_run(self._settings.outage)
        if not run.artifact_uri.startswith(SCHEME):
            raise Failed(
                bad_config(
                    f"the run's artifacts lie at {run.artifact_uri}: a model can be kept at s3://… only",
                    "The MLflow server needs --no-serve-artifacts, the experiment an s3:// artifact location.",
                )
            )
        return Place.parse(run.artifact_uri)

    def _with_place_of_model(self, failure: Failure) -> Failure:
        if self._report.model is None:
            return failure
        return replace(failure, message=f"{failure.message}; the trained model is kept at {self._report.model.uri}")
