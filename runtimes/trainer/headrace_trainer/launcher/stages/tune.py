"""A tuning: its program chooses the parameters of trials, which are jobs of their own, and puts together what they came
to. Its run is the job's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import State
from headrace_common.tags import BEST_TRIAL_TAG
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.report import milliseconds
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.stages.kind import Stage, Surroundings
from headrace_trainer.launcher.stages.results import keep_results, left_nothing
from headrace_trainer.launcher.store.s3 import Store
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import UsedDataset
from headrace_trainer.launcher.tracking.run import Tracker
from headrace_trainer.tuning.instructions import Instructions

FOLDER = "tuning"
_RESULTS = "tuning.json"  # written last


class Tuning(Stage):
    """One attempt's. Each begins from nothing: the operator tells it what there was."""

    use_of_inputs = "tuning"
    lists_inputs = False
    working = State.TRAINING

    def __init__(self, around: Surroundings) -> None:
        tuning, tracking, store = around.config.tuning, around.config.tracking, around.store
        storage = around.config.storage
        if tuning is None or tracking is None or storage is None or store is None or around.tracker is None:
            raise RuntimeError("a configuration of this stage says what to tune, and has a storage and a run")
        self._around = around
        self._tuning = tuning
        self._url = tracking.url
        self._storage = storage
        self._store: Store = store
        self._tracker: Tracker = around.tracker

    def begin(self, inputs: Sequence[UsedDataset]) -> None:
        """Raises Failed where MLflow makes no run."""
        settings = self._around.settings
        run = self._tracker.await_run(settings.outage)
        settings.paths.tuning.write_text(
            Instructions(
                tuning=self._tuning,
                bind=settings.bind,
                url=self._url,
                storage=self._storage,
                run=run.id,
                results=settings.paths.results,
                outage=settings.outage,
            ).as_text()
        )

    def deliver(self, script: Script) -> None:
        """Raises Failed where the program has left nothing."""
        outage, folder = self._around.settings.outage, self._around.settings.paths.results
        if not (folder / _RESULTS).is_file():
            raise Failed(left_nothing(Reason.LAUNCHER_FAILED, "program of the tuning", "results"))
        place = keep_results(folder, FOLDER, self._tracker, self._store, outage)
        log(f"what came of the trials is kept at {place}")
        best = json.loads((folder / _RESULTS).read_text())["best"]
        if best is not None:
            self._tracker.tag(_tags(best))
            self._tracker.log([Metric(self._tuning.metric, float(best["value"]), milliseconds(), 0)])
        self._tracker.close("FINISHED", outage)


def _tags(best: Mapping[str, Any]) -> dict[str, str]:
    """Tags and not parameters: what another attempt finds to be the best may differ, and parameters cannot."""
    parameters = {f"headrace.best.{name}": str(value) for name, value in best["parameters"].items()}
    return {BEST_TRIAL_TAG: str(best["number"]), **parameters}
