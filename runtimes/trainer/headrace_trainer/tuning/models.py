"""The models of trials that are not kept are removed from the bucket. Which these are the operator has decided, and
written down, before it tells; it is done again by each pod, so that one that is killed leaves nothing half done. Hours
may lie between: whether a version refers to one is asked once more, right before it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace_common import manifest
from headrace_common.protocol.trials import Trial
from headrace_common.s3 import SCHEME, Place
from headrace_common.tags import MODEL_REMOVED_TAG
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking.mlflow import MLflow, Unavailable
from headrace_trainer.tuning.errands import Errands

_MODELS = "model/"  # of all attempts, below the artifacts of a run
_WHY = "others of its tuning are better (tuning.keep)"


class Models:
    """Those of one job's trials. The store may be away for `outage` seconds."""

    def __init__(self, client: MLflow, store: Store, outage: float) -> None:
        self._client = client
        self._store = store
        self._patience = Patience(outage)
        self._known: set[str] = set()
        self._errands = Errands("models", self._remove)
        self._failed: dict[str, tuple[Trial, str]] = {}  # by run; with what was wrong

    def take(self, trials: Iterable[Trial]) -> None:
        """Have the models of those that are spent removed in the end."""
        for trial in trials:
            if trial.spent and trial.run and trial.run not in self._known:
                self._known.add(trial.run)
                self._errands.add(trial)

    def wait(self, seconds: float) -> bool:
        """Until no more is to be done; whether that is so. What could not be removed is tried once more, and told."""
        is_done = self._errands.wait(seconds)
        if is_done:
            again, self._failed = self._failed, {}
            for trial, _ in again.values():
                self._errands.add(trial)
            is_done = self._errands.wait(seconds)
        for trial, error in list(self._failed.values()):
            log(f"the model of trial {trial.number} stays in the bucket, whole or in part: {error}")
        return is_done

    def _remove(self, trial: Trial) -> None:
        try:
            self._delete(trial)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: the next trial's is removed all the same
            self._failed[trial.run] = trial, f"{type(error).__name__}: {error}"

    def _delete(self, trial: Trial) -> None:
        """The manifests go before the rest: nobody takes a part for a model. The run says it when it is so."""
        artifacts = self._client.get_run(trial.run).artifact_uri
        if not artifacts.startswith(SCHEME):
            return
        folder = Place.parse(artifacts).below(_MODELS)
        if version := self._client.version_of(trial.run, f"{artifacts.rstrip('/')}/{_MODELS.rstrip('/')}"):
            log(f"the model of trial {trial.number} stays in the bucket: {version} refers to it by now")
            return
        keys = [one.key for one in self._store.list(folder, self._patience)]
        for key in sorted(keys, key=lambda one: not one.endswith(f"/{manifest.NAME}")):
            self._store.delete(Place(folder.bucket, key), self._patience)
        self._client.set_tags(trial.run, {MODEL_REMOVED_TAG: _WHY})
        log(f"trial {trial.number}: its model is removed, {_WHY}")
