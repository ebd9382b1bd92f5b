"""Datasets that jobs have prepared, in the store: all of one name below one address.

    URI/DIGEST/…              the files, under their names; DIGEST are the 64 digits of names and contents
    URI/DIGEST.json           the manifest: files, sizes and sums, who made it, when, and of what. Written when the
                              files are there: without it there is no dataset
    URI/prepared/KEY.json     which dataset came of this preparation (identity.py), and who ran it. Last of all

A dataset is never changed. Two jobs that make the same at once write the same bytes to the same places.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_common import manifest
from headrace_common.protocol.claims import DIGEST
from headrace_common.protocol.config import Job, Prepare
from headrace_common.protocol.parts import DatasetReference
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets import contents
from headrace_trainer.launcher.datasets.contents import Contents
from headrace_trainer.launcher.datasets.left import Left
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.digests import PREFIX
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store

_PROTOCOL = 1
MAX_POINTER_BYTES = 4 << 20  # it repeats the parameters, which are a part of an object of Kubernetes
MAX_MANIFEST_BYTES = 256 << 20  # of more than a million files
LEFT_OVER_AFTER = timedelta(days=1)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")  # of a namespace, or of an object in it
_MAX_NAME, _MAX_UID = 253, 64


@dataclass(frozen=True)
class Maker:
    """The job that made a dataset."""

    namespace: str
    name: str
    uid: str

    @property
    def told(self) -> str:
        return f"{self.namespace}/{self.name}"

    @staticmethod
    def of(job: Job) -> Maker:
        return Maker(job.namespace, job.name, job.uid)

    @staticmethod
    def parse(value: Any) -> Maker:
        """Raises ValueError where no job has such names, KeyError, TypeError."""
        maker = Maker(value["namespace"], value["name"], value["uid"])
        for name in (maker.namespace, maker.name):
            if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
                raise ValueError("it is told to be of a job that has no such name")
        if not isinstance(maker.uid, str) or len(maker.uid) > _MAX_UID:
            raise ValueError("the job that it is told to be of has no such uid")
        return maker


class PreparedDatasets:
    """All of one name, as one attempt sees them. Methods raise Failed (Storage…)."""

    def __init__(self, prepare: Prepare, job: Job, store: Store, outage_seconds: float) -> None:
        self._name = prepare.name
        self._root = Place.parse(prepare.uri)
        self._job = job
        self._store = store
        self._patience = Patience(outage_seconds)

    def find(self, key: str) -> DatasetReference | None:
        """What came of this preparation earlier; None where nothing did, or it is not whole any more."""
        try:
            digest, job = _pointer(self._store.read(self._pointer_of(key), self._patience, MAX_POINTER_BYTES))
            files = self._whole(digest)
        except NotFound:
            return None
        except ValueError as error:
            log(f"what was prepared earlier is of no use, and is prepared anew: {error}")
            return None
        # An earlier attempt of this job may have made it, and ended before it said so.
        return self._prepared(digest, files, job.told, reused=job.uid != self._job.uid)

    def keep(self, left: Left, found: Contents, key: str, about: Mapping[str, Any]) -> DatasetReference:
        """What was left, to where datasets lie; `about` says in the manifest of what it was made. Raises Failed
        (NoDataset) where somebody is still writing to it.
        """
        about = {**about, "madeBy": asdict(self._job), "time": time.time_ns() // 1_000_000}
        if not self._is_whole(found.digest):
            place = self._place_of(found.digest)
            self._abort_unfinished()
            left.put(found.files, place)
            left.check_unchanged(found)
            for stranger in self._there(found.digest).keys() - {file.path for file in found.files}:
                log(f"{place.below(stranger)} is none of the dataset's files, and is deleted")
                self._store.delete(place.below(stranger), self._patience)
            text = manifest.encode(found.files, {"name": self._name, "digest": found.digest, **about})
            self._store.write(self._manifest_of(found.digest), text, self._patience)
        pointer = {"protocol": _PROTOCOL, "digest": found.digest, **about}
        self._store.write(self._pointer_of(key), json.dumps(pointer, sort_keys=True).encode(), self._patience)
        return self._prepared(found.digest, found.files, Maker.of(self._job).told, reused=False)

    @property
    def room(self) -> Place:
        """Where the files of a dataset may lie, to the length of the name."""
        return self._place_of(PREFIX + "0" * 64)

    def _prepared(
        self, digest: str, files: tuple[manifest.File, ...], made_by: str, *, reused: bool
    ) -> DatasetReference:
        size = sum(file.size for file in files)
        return DatasetReference(self._name, self._uri_of(digest), digest, len(files), size, made_by, reused)

    def _abort_unfinished(self) -> None:
        """Of all datasets of this name. What is younger may be another job's, which is about to finish it."""
        before = datetime.now(UTC) - LEFT_OVER_AFTER
        try:
            count = self._store.abort_unfinished(self._root.below(""), lambda one: one.began < before, self._patience)
        except (NotFound, Failed) as error:  # not every store, and not every policy, lets them be listed
            log(f"half-sent files of datasets cannot be looked for: {error}")
        else:
            if count:
                log(f"{count} half-sent files of earlier datasets are taken away")

    def _is_whole(self, digest: str) -> bool:
        try:
            self._whole(digest)
        except (NotFound, ValueError):
            return False
        return True

    def _whole(self, digest: str) -> tuple[manifest.File, ...]:
        """The dataset's files, all of which are there. Raises NotFound without a manifest, ValueError where they are
        not. What is in them is for who reads them to check.
        """
        files, fields = manifest.decode(self._read_manifest(digest))
        if digest != fields.get("digest") or digest != contents.digest_of_files(files):
            raise ValueError(f"the manifest {self._manifest_of(digest)} is another dataset's")
        there, wanted = self._there(digest), {file.path: file.size for file in files}
        if there != wanted:
            other = min(path for path in there.keys() | wanted.keys() if there.get(path) != wanted.get(path))
            raise ValueError(f"{self._uri_of(digest)}: {other} is missing, of another size, or was not made with it")
        return files

    def _read_manifest(self, digest: str) -> bytes:
        return self._store.read(self._manifest_of(digest), self._patience, MAX_MANIFEST_BYTES)

    def _there(self, digest: str) -> dict[str, int]:
        """The sizes of all files below a dataset's address."""
        prefix = self._place_of(digest).below("")
        found = self._store.list(prefix, self._patience)
        return {item.key[len(prefix.key) :]: item.size for item in found if not item.key.endswith("/")}

    def _place_of(self, digest: str) -> Place:
        return self._root.below(digest.removeprefix(PREFIX))

    def _uri_of(self, digest: str) -> str:
        return str(self._place_of(digest).below(""))

    def _manifest_of(self, digest: str) -> Place:
        return self._root.below(f"{digest.removeprefix(PREFIX)}.json")

    def _pointer_of(self, key: str) -> Place:
        return self._root.below(f"prepared/{key}.json")


def _pointer(text: bytes) -> tuple[str, Maker]:
    """Digest and job. Any pod of the namespace can have written it. Raises ValueError."""
    try:
        value = json.loads(text)
        digest, made_by = value["digest"], Maker.parse(value["madeBy"])
        if value["protocol"] != _PROTOCOL or not DIGEST.fullmatch(digest):
            raise ValueError("it is of another release")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error!r}") from error
    return digest, made_by
