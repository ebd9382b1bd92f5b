"""Datasets are downloaded before the script starts, so that its log begins with what it does. Read-only afterwards."""

from __future__ import annotations

from pathlib import Path

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import in_terms_of_data, not_found, objects_of
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.digests import PREFIX
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store


def download(dataset: Dataset, store: Store, outage_seconds: float) -> None:
    """One object becomes the file `dataset.path`, a prefix the folder. Raises Failed (Data…, StorageUnavailable)."""
    found = objects_of(dataset, store, outage_seconds)
    try:
        for one in found:
            target = dataset.path / one.path if one.path else dataset.path
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download(one.place, target, Patience(outage_seconds))
    except NotFound as error:
        raise Failed(not_found(dataset, "it went away while it was downloaded")) from error
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


def _make_read_only(path: Path) -> None:
    for below in path.rglob("*"):
        below.chmod(0o555 if below.is_dir() else 0o444)
    path.chmod(0o555 if path.is_dir() else 0o444)
