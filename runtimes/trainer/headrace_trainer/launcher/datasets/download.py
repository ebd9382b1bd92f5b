"""Datasets are downloaded before the script starts, so that its log begins with what it does. Read-only afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets.objects import Object, in_terms_of_data, not_found
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.digests import PREFIX
from headrace_trainer.launcher.store.parts import Changed
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store


def download(dataset: Dataset, objects: Sequence[Object], store: Store, outage_seconds: float) -> None:
    """One object becomes the file `dataset.path`, a prefix the folder. Each object has to be the one that was listed.
    Raises Failed (Data…, StorageUnavailable).
    """
    try:
        for one in objects:
            target = dataset.path / one.path if one.path else dataset.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(dataset, one, target, store, Patience(outage_seconds))
    except Failed as error:
        raise Failed(in_terms_of_data(dataset, error.failure)) from error
    _make_read_only(dataset.path)


def check(dataset: Dataset, sha256: str) -> None:
    """Raises Failed (DatasetChanged) where what was downloaded is not what it is to be."""
    if dataset.digest and dataset.digest != PREFIX + sha256:
        raise Failed(
            Failure(
                Reason.DATASET_CHANGED,
                f"dataset {dataset.name}: {dataset.uri} has the digest {PREFIX}{sha256}, and is to have "
                f"{dataset.digest}: somebody has changed it since",
                "What a job has prepared is not to be written to. Delete its manifest, "
                f"{dataset.uri.rstrip('/')}.json: a new TrainingJob then prepares it anew.",
            )
        )


def _download(dataset: Dataset, one: Object, target: Path, store: Store, patience: Patience) -> None:
    try:
        store.download_version(Place.parse(one.uri), target, one.version, patience)
    except Changed as error:
        raise Failed(_changed(dataset, one, "was written anew")) from error
    except NotFound as error:
        if dataset.digest:
            raise Failed(not_found(dataset, f"{one.uri} went away while it was downloaded")) from error
        raise Failed(_changed(dataset, one, "is gone")) from error


def _changed(dataset: Dataset, one: Object, what: str) -> Failure:
    return Failure(
        Reason.DATASET_CHANGED,
        f"dataset {dataset.name}: {one.uri} {what} since the dataset was first read",
        "All attempts of a job read the same bytes: keep them under names that are written once, such as a folder for "
        "each version. A new TrainingJob reads what is there now.",
    )


def _make_read_only(path: Path) -> None:
    for below in path.rglob("*"):
        below.chmod(0o555 if below.is_dir() else 0o444)
    path.chmod(0o555 if path.is_dir() else 0o444)
