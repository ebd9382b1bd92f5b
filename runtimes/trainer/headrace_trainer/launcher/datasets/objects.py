"""Which objects a dataset's address names: one of exactly that key, or all below it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store


@dataclass(frozen=True)
class Object:
    """One object of a dataset. `path` is where it goes below the dataset's own, empty for a dataset that is one file;
    `size` is in bytes. `version` changes whenever the object is written with other bytes.
    """

    uri: str
    path: str
    size: int
    version: str


def objects_of(dataset: Dataset, store: Store, outage_seconds: float) -> tuple[Object, ...]:
    """At least one, in the order of their keys. Raises Failed (Data…, StorageUnavailable)."""
    place, patience = Place.parse(dataset.uri), Patience(outage_seconds)
    try:
        if place.key and not place.key.endswith("/"):
            try:
                one = store.look(place, patience)
            except NotFound:
                pass
            else:
                return (Object(str(place), "", one.size, one.version),)
        return _below(dataset, Place(place.bucket, place.key.rstrip("/")), store, patience)
    except Failed as error:
        raise Failed(in_terms_of_data(dataset, error.failure)) from error


def below(dataset: Dataset, path: str) -> str:
    """The address of one of its objects, by the object's path."""
    return f"{dataset.uri.rstrip('/')}/{path}" if path else dataset.uri


def _below(dataset: Dataset, root: Place, store: Store, patience: Patience) -> tuple[Object, ...]:
    prefix = Place(root.bucket, f"{root.key}/" if root.key else "")
    found = []
    for item in store.list(prefix, patience):
        if item.key.endswith("/"):
            continue
        path = item.key[len(prefix.key) :]
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts:
            raise Failed(
                Failure(
                    Reason.DATASET_FORBIDDEN,
                    f"dataset {dataset.name}: the key {item.key} would be written outside of {dataset.path}",
                    "Rename the object in S3, so that its key has no `..` in it.",
                )
            )
        found.append(Object(below(dataset, path), path, item.size, item.version))
    if not found:
        raise Failed(not_found(dataset, "there is no such object, and nothing below it"))
    return tuple(found)


def not_found(dataset: Dataset, why: str) -> Failure:
    """Of a dataset that is not there, or not all of it."""
    hint = "Correct spec.datasets in a new TrainingJob, or upload the data to this address."
    if dataset.digest:  # nobody has written this address
        hint = "It was prepared before the training, and deleted since. A new TrainingJob prepares it anew."
    return Failure(Reason.DATASET_NOT_FOUND, f"dataset {dataset.name}: {dataset.uri}: {why}", hint)


def in_terms_of_data(dataset: Dataset, failure: Failure) -> Failure:
    """A store that refuses a dataset is a matter of the dataset; one that is away is not."""
    if failure.reason is Reason.BUCKET_NOT_FOUND:
        return not_found(dataset, "there is no such bucket")
    if failure.reason is Reason.STORAGE_FORBIDDEN:
        return Failure(Reason.DATASET_FORBIDDEN, f"dataset {dataset.name}: {failure.message}", failure.hint)
    return failure
