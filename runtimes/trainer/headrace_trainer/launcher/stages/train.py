"""A training: what its success has made is a model, or several of which one has to be named, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.report import State
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.pins import Pins
from headrace_trainer.launcher.failures.judge import Failed, export_failed, none_handed_over
from headrace_trainer.launcher.frameworks import framework_of
from headrace_trainer.launcher.model import chosen
from headrace_trainer.launcher.model import upload as model
from headrace_trainer.launcher.model.delivery import Delivery
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.stages.kind import Stage, Surroundings


class Training(Stage):
    """One attempt's. Each attempt trains."""

    use_of_inputs = "training"
    lists_inputs = False
    working = State.TRAINING

    def __init__(self, around: Surroundings) -> None:
        self._config = around.config
        self._settings = around.settings
        self._report = around.report
        self._store = around.store
        self._objects: Mapping[str, Sequence[Object]] | None = None
        self._framework = framework_of(around.config)
        self._delivery = Delivery(
            around.config, around.settings, around.store, around.tracker, around.report, around.files
        )

    def pinned(self, dataset: Dataset) -> Sequence[Object] | None:
        """Those that the first attempt has found, or the first trial."""
        if self._objects is None:  # of all inputs at once: the other workers wait for it, and not for a download
            self._objects = self._pins().objects(self._config.datasets)
        return self._objects.get(dataset.name)

    def deliver(self, script: Script) -> None:
        """Raises Failed where no model came that was asked for, too."""
        if script.ambiguous is not None:
            self._delivery.of_candidates(script.ambiguous)
            return
        export = model.judge_export(
            self._config.formats,
            script.exported,
            script.export_problems,
            self._settings.paths.export,
            self._framework,
            self._config.optional_formats,
        )
        if self._config.formats and not export.made:
            if not export.failed or (script.exported is None and not script.export_problems):
                raise Failed(none_handed_over(tuple(export.failed), self._framework.how_to_hand_over))
            raise Failed(export_failed(export.problems, self._framework.hint_of_unusable))
        if export.made:
            self._framework.describe(self._settings.paths.export, export.made)
        about = {} if script.chosen is None else chosen.tags(script.chosen, self._report.metrics.keys)
        self._delivery.of_model(script.exported, export, about)

    def _pins(self) -> Pins:
        return Pins(
            self._config.inputs,
            is_chief=self._settings.worker == 0,
            store=self._store,
            outage_seconds=self._settings.outage,
        )
