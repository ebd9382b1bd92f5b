"""Datasets are downloaded before the script starts, so that its log begins with what it does. Read-only afterwards.

Small objects are fetched several at once, large ones each by itself, in parts. What is to be unpacked is fetched whole,
compared with what it is to be, and unpacked from there; its digest is that of what is stored.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore, Lock

from headrace_common.manifest import sha256_of
from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.at_once import for_each
from headrace_trainer.launcher.datasets.objects import (
    Object,
    address_of,
    cannot_be_written,
    changed,
    is_prepared,
    not_found,
)
from headrace_trainer.launcher.datasets.origins.kind import Origin
from headrace_trainer.launcher.datasets.unpack.bounds import Bounds
from headrace_trainer.launcher.datasets.unpack.forms import Packed, forms_of
from headrace_trainer.launcher.datasets.unpack.unpack import unpack
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.digests import PREFIX, digest, digest_of
from headrace_trainer.launcher.store.parts import PART_BYTES, Changed
from headrace_trainer.launcher.store.s3 import NotFound

AT_ONCE = 16
_UNPACKED_AT_ONCE = 4  # each may need more than 100 MB of memory
_TELL_SECONDS = 10.0
_MB = 1e6
_WHO = "somebody has changed it since"
_WHO_OR_SLIP = "somebody has changed it, or the sha256 in the spec was never its own"
_CORRECT_SHA256 = (
    "It is another file than spec.datasets names. Find out why; if the new one is what you want, write its sha256 into "
    "a new TrainingJob."
)


def download(dataset: Dataset, objects: Sequence[Object], origin: Origin, at_once: int = AT_ONCE) -> Mapping[str, str]:
    """One object becomes the file `dataset.path`, several the folder; what of it is packed, what is in it. Each object
    has to be the one that was listed. The sha256 of each stored object by its path, where the dataset is one that is
    unpacked: what is there then does not tell it. Raises Failed (Data…, StorageUnavailable).
    """
    packed = forms_of(dataset, objects)
    told, numbers = _Told(dataset, objects), itertools.count()
    sums: dict[str, str] = {}
    may_unpack = BoundedSemaphore(_UNPACKED_AT_ONCE)
    coming = dataset.path.with_name(f".{dataset.path.name}.coming")  # beside it: in it each name may be an object's

    def fetch(one: Packed) -> None:
        part = coming / str(next(numbers))
        _fetch(dataset, one.one, origin, part)
        if dataset.unpack is not None:
            sums[one.one.path] = sha256_of(part)
            if not one.one.path:
                check(dataset, sums[one.one.path])  # before it is let write anything
        if one.form is None:
            _keep(dataset, part, _target(dataset, one))
        else:
            with may_unpack:
                unpack(dataset, one, one.form, part, _target(dataset, one), Bounds(part.stat().st_size, coming))
            part.unlink()
        told.has(one.one)

    _make_folders(dataset, (*{_target(dataset, one).parent for one in packed}, coming))
    try:
        for_each((one for one in packed if one.one.size <= PART_BYTES), fetch, min(at_once, len(packed)))
        for one in packed:
            if one.one.size > PART_BYTES:
                fetch(one)
    finally:
        shutil.rmtree(coming)
    _make_read_only(dataset.path)
    return sums


def digest_of_stored(dataset: Dataset, sums: Mapping[str, str]) -> str:
    """That of what was downloaded, as it is stored, 64 digits; `sums` are what `download` has returned."""
    if dataset.unpack is None:
        return digest(dataset.path)
    return sums[""] if "" in sums else digest_of({os.fsencode(path): sha256 for path, sha256 in sums.items()})


def check(dataset: Dataset, sha256: str) -> None:
    """Raises Failed (DatasetChanged) where what was downloaded is not what it is to be."""
    if dataset.digest and dataset.digest != PREFIX + sha256:
        raise Failed(
            Failure(
                Reason.DATASET_CHANGED,
                f"dataset {dataset.name}: {address_of(dataset)} has the digest {PREFIX}{sha256}, and is to have "
                f"{dataset.digest}: {_WHO if is_prepared(dataset) else _WHO_OR_SLIP}",
                _not_to_be_written_to(dataset) if is_prepared(dataset) else _CORRECT_SHA256,
            )
        )


def _not_to_be_written_to(dataset: Dataset) -> str:
    return (
        "What a job has prepared is not to be written to. Delete its manifest, "
        f"{dataset.uri.rstrip('/')}.json: a new TrainingJob then prepares it anew."
    )


def _fetch(dataset: Dataset, one: Object, origin: Origin, coming: Path) -> None:
    with as_it_was(dataset, one):
        origin.fetch(dataset, one, coming)


@contextmanager
def as_it_was(dataset: Dataset, one: Object) -> Iterator[None]:
    """What is read is the object that was listed. Raises Failed where it is not."""
    try:
        yield
    except Changed as error:
        raise Failed(changed(dataset, one, "was written anew")) from error
    except NotFound as error:
        if dataset.digest:
            raise Failed(not_found(dataset, f"{one.uri} went away while it was downloaded")) from error
        raise Failed(changed(dataset, one, "is gone")) from error


def _make_folders(dataset: Dataset, folders: Iterable[Path]) -> None:
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(cannot_be_written(dataset, dataset.path, error)) from error


def _keep(dataset: Dataset, coming: Path, target: Path) -> None:
    try:
        coming.rename(target)
    except OSError as error:
        raise Failed(cannot_be_written(dataset, target, error)) from error


def _target(dataset: Dataset, one: Packed) -> Path:
    return dataset.path / one.path if one.path else dataset.path


class _Told:
    """Says in the log how far a download is, where it takes long."""

    def __init__(self, dataset: Dataset, objects: Sequence[Object]) -> None:
        self._name = dataset.name
        self._all, self._all_bytes = len(objects), sum(one.size for one in objects)
        self._done = self._bytes = 0
        self._told_at = time.monotonic()
        self._turn = Lock()
        size = f", {self._all_bytes / _MB:.1f} MB" if self._all_bytes else ""  # of a web server's nobody knows it yet
        log(f"dataset {self._name}: {self._all} file(s){size}")

    def has(self, one: Object) -> None:
        """One more is there."""
        with self._turn:
            self._done += 1
            self._bytes += one.size
            if time.monotonic() - self._told_at < _TELL_SECONDS:
                return
            self._told_at = time.monotonic()
            of = f"{self._done} of {self._all} file(s), {self._bytes / _MB:.1f} of {self._all_bytes / _MB:.1f} MB"
        log(f"dataset {self._name}: {of}")


def _make_read_only(path: Path) -> None:
    for below in path.rglob("*"):
        below.chmod(0o555 if below.is_dir() else 0o444)
    path.chmod(0o555 if path.is_dir() else 0o444)
