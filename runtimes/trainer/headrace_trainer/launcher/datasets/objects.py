"""The objects that a dataset is made of, wherever they come from, and what is said of those that cannot be had."""

from __future__ import annotations

import errno
import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headrace_common.paths import collision, leaves_its_folder
from headrace_common.protocol.config import IMAGE, VOLUME, Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import Failed, Failure

MAX_NAME_BYTES = 250  # of the 255 that a file system takes: while it is downloaded a file's name has a suffix


@dataclass(frozen=True)
class Object:
    """One object of a dataset. `path` is where it goes below the dataset's own, empty for a dataset that is one file;
    `size` is in bytes. `version` changes whenever the object is written with other bytes.
    """

    uri: str
    path: str
    size: int
    version: str


def address_of(dataset: Dataset) -> str:
    """As it is told: what an https:// address has after a `?` may be a key."""
    return dataset.uri.partition("?")[0] if dataset.uri.startswith("https://") else dataset.uri


def address_below(dataset: Dataset, path: str) -> str:
    """The address of one of its objects, by the object's path."""
    return f"{dataset.uri.rstrip('/')}/{path}" if path else dataset.uri


def found_below(dataset: Dataset, listed: Iterable[tuple[str, int, str]]) -> Sequence[Object]:
    """Of what a place has listed below the dataset's address (path, size, version), what becomes a file. Raises Failed
    where that is nothing, or cannot be.
    """
    found = []
    for path, size, version in listed:
        if not path or path.endswith("/"):
            continue
        if leaves_its_folder(path):
            raise Failed(_unfit(dataset, path, f"would be written outside of {dataset.path}", "has no `..` in it"))
        if has_long_part(path):
            wish = f"has no part longer than {MAX_NAME_BYTES} bytes"
            raise Failed(_unfit(dataset, path, f"has a part longer than {MAX_NAME_BYTES} bytes", wish))
        found.append(Object(address_below(dataset, path), path, size, version))
    if not found:
        raise Failed(not_found(dataset, "there is no such object, and nothing below it"))
    if (twice := shared_name(found)) is not None:
        raise Failed(
            _unfit(dataset, twice, "is the name of two files, or of a file and of a folder", "is one of the two")
        )
    return tuple(found)


def has_long_part(path: str) -> bool:
    """Whether a file or folder of it has too long a name."""
    return any(len(part.encode(errors="surrogatepass")) > MAX_NAME_BYTES for part in path.split("/"))


def shared_name(objects: Iterable[Object]) -> str | None:
    """A path that is there twice, or is another one's folder, as a file system has them: `a//b` is `a/b`."""
    return collision([posixpath.normpath(one.path) for one in objects])


def digest_of_objects(objects: Iterable[Object]) -> str:
    """Of their names, sizes and versions, 64 digits: what a dataset is, where nobody reads all of it."""
    whole = hashlib.sha256()
    for one in objects:  # there may be a million
        whole.update(json.dumps((one.path, one.size, one.version)).encode() + b"\n")
    return whole.hexdigest()


def is_prepared(dataset: Dataset) -> bool:
    """Whether an earlier stage has made it: its digest is known, and it is in the tenant's own bucket."""
    return bool(dataset.digest) and dataset.uri.startswith("s3://")


def not_found(dataset: Dataset, why: str) -> Failure:
    """Of a dataset that is not there, or not all of it."""
    message = f"dataset {dataset.name}: {address_of(dataset)}: {why}"
    return Failure(Reason.DATASET_NOT_FOUND, message, _where_it_would_be(dataset))


def _where_it_would_be(dataset: Dataset) -> str:
    """What to do where it is not."""
    if is_prepared(dataset):  # nobody has written this address
        return "It was prepared before the training, and deleted since. A new TrainingJob prepares it anew."
    if dataset.uri.startswith(VOLUME):
        claim = dataset.uri.removeprefix(VOLUME).partition("/")[0]
        return (
            f"Correct persistentVolumeClaim.path of dataset {dataset.name} in a new TrainingJob, or copy the files "
            f"into the volume of claim {claim}."
        )
    if dataset.uri.startswith(IMAGE):
        return f"Name an image that has files in image.reference of dataset {dataset.name}, in a new TrainingJob."
    return "Correct spec.datasets in a new TrainingJob, or upload the data to this address."


def forbidden(dataset: Dataset, why: str, hint: str) -> Failure:
    """Of one that may not be read."""
    return Failure(Reason.DATASET_FORBIDDEN, f"dataset {dataset.name}: {why}", hint)


@contextmanager
def written_whole(dataset: Dataset, target: Path) -> Iterator[BinaryIO]:
    """A file that is written, and is `target` once all of it is there. Raises Failed where it cannot be written."""
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.rename(target)
    except OSError as error:
        raise Failed(cannot_be_written(dataset, target, error)) from error
    finally:
        part.unlink(missing_ok=True)


def cannot_be_written(dataset: Dataset, path: Path, error: OSError) -> Failure:
    """Of the pod's disk; of a name that no disk takes it is the dataset that has to change."""
    if error.errno == errno.ENAMETOOLONG:
        why = f"{address_of(dataset)}: a path below {dataset.path} would be longer than a file's path may be"
        return forbidden(dataset, why, "Use shorter names, or fewer folders in one another.")
    return Failure(
        Reason.STORAGE_UNAVAILABLE,
        f"dataset {dataset.name}: {address_of(dataset)}: {path} could not be written: {error}",
        "The pod's disk is full, or the folder is not writable: raise spec.resources.limits.ephemeral-storage.",
    )


def changed(dataset: Dataset, one: Object, what: str) -> Failure:
    """Of an object that is not what it was."""
    return Failure(
        Reason.DATASET_CHANGED,
        f"dataset {dataset.name}: {one.uri} {what} since the dataset was first read",
        "All attempts of a job read the same bytes, and all trials of a tuning: keep them under names that are written "
        "once, such as a folder for each version. A new TrainingJob reads what is there now.",
    )


@contextmanager
def in_terms_of_data(dataset: Dataset) -> Iterator[None]:
    """A store that refuses a dataset is a matter of the dataset; one that is away is not."""
    try:
        yield
    except Failed as error:
        if error.failure.reason is Reason.BUCKET_NOT_FOUND:
            raise Failed(not_found(dataset, "there is no such bucket")) from error
        if error.failure.reason is Reason.STORAGE_FORBIDDEN:
            raise Failed(forbidden(dataset, error.failure.message, error.failure.hint)) from error
        raise


def _unfit(dataset: Dataset, path: str, why: str, wish: str) -> Failure:
    return forbidden(
        dataset, f"the object {address_below(dataset, path)} {why}", f"Rename the object, so that it {wish}."
    )
