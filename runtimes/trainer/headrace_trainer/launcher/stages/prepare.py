"""A preparation: what its success has made is a dataset. What was prepared of the same before is not prepared again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.parts import DatasetReference
from headrace_common.protocol.report import State
from headrace_common.s3 import Place
from headrace_common.tags import DATASET_DIGEST_TAG, DATASET_MADE_BY_TAG, DATASET_TAG
from headrace_trainer.launcher.datasets.identity import Preparation, list_inputs, preparation
from headrace_trainer.launcher.datasets.left import Left, LeftInFolder
from headrace_trainer.launcher.datasets.objects import Object, changed
from headrace_trainer.launcher.datasets.prepared import PreparedDatasets
from headrace_trainer.launcher.datasets.staged import Staged
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.spark import driver, files
from headrace_trainer.launcher.stages.kind import Stage, Surroundings
from headrace_trainer.launcher.store.s3 import GivenUp, NotFound, Patience
from headrace_trainer.launcher.tables import fingerprint
from headrace_trainer.launcher.tracking.files import CURVES_SECONDS
from headrace_trainer.launcher.tracking.mlflow import UsedDataset

_WORK_DIGITS = 16  # of 64: a job has few


class Preparing(Stage):
    """One attempt's."""

    use_of_inputs = "preparation"
    lists_inputs = True
    working = State.TRAINING

    def __init__(self, around: Surroundings) -> None:
        if around.config.prepare is None or around.store is None:
            raise RuntimeError("a configuration of this stage says what to prepare, and has a storage")
        self._around = around
        self._store = around.store
        self._name = around.config.prepare.name
        self._spark = around.config.prepare.spark
        self.reads_in_place = self._spark is not None
        self._left = self._where_it_is_left()
        self._datasets = PreparedDatasets(
            around.config.prepare, around.config.job, around.store, around.settings.outage
        )
        self._what: Preparation | None = None
        self._listed: Mapping[str, Sequence[Object]] = {}
        self._inputs: Sequence[UsedDataset] = ()
        self._found: DatasetReference | None = None

    def is_made_already(self) -> bool:
        self._listed = list_inputs(self._around.config, self._store, self._around.settings.outage)
        masking = fingerprint(self._around.config, os.environ)
        self._what = preparation(self._around.config, self._listed, masking)
        self._found = self._datasets.find(self._what.key)
        if self._found is not None:
            log(f"dataset {self._name}: {self._found.made_by} has prepared the same: {self._found.uri} is used again")
        return self._found is not None

    @property
    def work(self) -> str:
        return self._asked().key[:_WORK_DIGITS]

    def pinned(self, dataset: Dataset) -> Sequence[Object] | None:
        """Those that the key is of: what is added meanwhile is another preparation's."""
        return self._listed.get(dataset.name)

    def begin(self, inputs: Sequence[UsedDataset]) -> None:
        """Of Spark: raises Failed where no executor could be made, or none could run."""
        self._inputs = inputs
        if isinstance(self._left, Staged):
            job = self._around.config.job
            driver.check_image()
            driver.check_allowed(job.namespace, self._around.settings.outage)
            driver.clear_executors(job.namespace, job.uid)
            self._left.clear()

    def deliver(self, script: Script) -> None:
        around = self._around
        prepared = self._keep() if self._found is None else self._found
        around.report.dataset = prepared
        if self._found is None:
            around.files.keep_artifacts(Patience(around.settings.outage))
        if around.tracker is not None:
            around.tracker.tag(_tags(prepared))
            around.tracker.close("FINISHED", around.settings.outage)
        if self._found is None:
            around.files.draw_curves(CURVES_SECONDS)
        # Of what is there already an earlier attempt may have left its own.
        self._clear(Patience(around.settings.outage))

    def tidy(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._clear(Patience(seconds, lambda: time.monotonic() < deadline))

    def _keep(self) -> DatasetReference:
        what, config = self._asked(), self._around.config
        if self.reads_in_place:
            self._check_inputs()
        found = self._left.read(self._datasets.room)
        about = {
            "source": what.source_digest,
            "entrypoint": config.entrypoint,
            "parameters": dict(config.parameters),
            "image": what.image,
            "inputs": [{"name": one.name, "uri": one.uri, "digest": one.digest} for one in self._inputs],
        }
        if config.prepare is not None and config.prepare.tables is not None:
            about["tables"] = config.prepare.tables.as_json()
        if self._spark is not None:
            about["spark"] = dict(self._spark.conf)
        return self._datasets.keep(self._left, found, what.key, about)

    def _clear(self, patience: Patience) -> None:
        """Take away what executors have written: that it stays is no reason to fail."""
        if not isinstance(self._left, Staged):
            return
        try:
            self._left.clear(patience)
        except (Failed, NotFound, GivenUp) as error:
            log(f"what the executors have written stays below the job's address: {error or 'no time is left'}")

    def _check_inputs(self) -> None:
        """What the script has read is what the key is of. Raises Failed (DatasetChanged) where it may be another."""
        now = list_inputs(self._around.config, self._store, self._around.settings.outage)
        for dataset in self._around.config.datasets:
            if dataset.digest:
                continue
            before, after = set(self._listed[dataset.name]), set(now[dataset.name])
            if before != after:
                other = min(before ^ after, key=lambda one: one.path)
                what = (
                    "was added" if other in after and other.path not in {one.path for one in before} else "has changed"
                )
                raise Failed(changed(dataset, other, what))

    def _where_it_is_left(self) -> Left:
        around = self._around
        patience = Patience(around.settings.outage)
        if self._spark is None:
            return LeftInFolder(around.settings.paths.prepared, self._store, patience)
        return Staged(Place.parse(files.staging(around.config, self._spark)), self._store, patience)

    def _asked(self) -> Preparation:
        if self._what is None:
            raise RuntimeError("nobody has asked whether it is made already")
        return self._what


def _tags(prepared: DatasetReference) -> dict[str, str]:
    tags = {DATASET_TAG: prepared.uri, DATASET_DIGEST_TAG: prepared.digest}
    return tags | ({DATASET_MADE_BY_TAG: prepared.made_by} if prepared.reused else {})
