"""Datasets: downloaded before the script starts, so that its log begins with training. Read-only afterwards."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store


def download(dataset: Dataset, store: Store, outage_seconds: float) -> None:
    """One object becomes the file `dataset.path`, a prefix the folder. Raises Failed (Data…, StorageUnavailable)."""
    place = Place.parse(dataset.uri)
    dataset.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if place.key and not place.key.endswith("/") and store.exists(place, Patience(outage_seconds)):
            store.download(place, dataset.path, Patience(outage_seconds))
            dataset.path.chmod(0o444)
            return
        _download_folder(dataset, Place(place.bucket, place.key.rstrip("/")), store, outage_seconds)
    except NotFound as error:
        raise Failed(_not_found(dataset, "it went away while it was downloaded")) from error
    except Failed as error:
        raise Failed(_in_terms_of_data(dataset, error.failure)) from error


def _download_folder(dataset: Dataset, root: Place, store: Store, outage_seconds: float) -> None:
    prefix = Place(root.bucket, f"{root.key}/" if root.key else "")
    found = [item for item in store.list(prefix, Patience(outage_seconds)) if not item.key.endswith("/")]
    if not found:
        raise Failed(_not_found(dataset, "there is no such object, and nothing below it"))
    for item in found:
        relative = PurePosixPath(item.key[len(prefix.key) :])
        if relative.is_absolute() or ".." in relative.parts:
            raise Failed(
                Failure(
                    Reason.DATASET_FORBIDDEN,
                    f"dataset {dataset.name}: the key {item.key} would be written outside of {dataset.path}",
                    "Rename the object in S3, so that its key has no `..` in it.",
                )
            )
        target = dataset.path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(Place(root.bucket, item.key), target, Patience(outage_seconds))
    _make_read_only(dataset.path)


def _make_read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


def _not_found(dataset: Dataset, why: str) -> Failure:
    return Failure(
        Reason.DATASET_NOT_FOUND,
        f"dataset {dataset.name}: {dataset.uri}: {why}",
        "Correct spec.datasets in a new TrainingJob, or upload the data to this address.",
    )


def _in_terms_of_data(dataset: Dataset, failure: Failure) -> Failure:
    """A store that refuses a dataset is a matter of the dataset; one that is away is not."""
    if failure.reason is Reason.BUCKET_NOT_FOUND:
        return _not_found(dataset, "there is no such bucket")
    if failure.reason is Reason.STORAGE_FORBIDDEN:
        return Failure(Reason.DATASET_FORBIDDEN, f"dataset {dataset.name}: {failure.message}", failure.hint)
    return failure
