"""Which objects the inputs of a training are, in all of its attempts: those that the first one has found.

    URI/NAME.json.gz     the objects of one input. URI is `inputs/` beside the job's checkpoints: what was learned from
                         these bytes is there, and goes when that goes. All trials of a tuning have one URI

The chief lists, and writes it before it fetches anything; all others, and all later attempts, take it from there. So
what is added to a prefix meanwhile is another training's. Of trials that begin at once the one that writes first says
what it is. An input with a digest needs none of it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from headrace_common.paths import leaves_its_folder
from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher import chief
from headrace_trainer.launcher.datasets.objects import Object, address_below, shared_name
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store, TooLarge

_PROTOCOL = 1
_MAX_BYTES = 256 << 20  # compressed: many millions of objects


class Pins:
    """Those of one job, or of all trials of one, as one worker sees them. Without a `uri` each attempt has its own: it
    begins from nothing, and may do so with what is there now.
    """

    def __init__(self, uri: str, *, is_chief: bool, store: Store | None, outage_seconds: float) -> None:
        self._root = Place.parse(uri) if uri else None
        self._is_chief = is_chief
        self._store = store
        self.patience = Patience(outage_seconds)

    def objects(self, datasets: Sequence[Dataset]) -> Mapping[str, Sequence[Object]]:
        """Of all datasets without a digest, by their names. Raises Failed (Data…, StorageUnavailable)."""
        return {one.name: self._objects(one) for one in datasets if not one.digest}

    def _objects(self, dataset: Dataset) -> Sequence[Object]:
        if self._root is None or self._store is None:
            return self._found(dataset)
        place = self._root.below(f"{dataset.name}.json.gz")
        try:
            try:
                pin = self._read(place, self._store)
            except NotFound:
                self._store.write_first(place, _encode(dataset, self._found(dataset)), self.patience)
                pin = self._read(place, self._store)
        except (TooLarge, NotFound) as error:
            raise Failed(_unreadable(dataset, place, error)) from error
        try:
            return _decode(dataset, pin)
        except (ValueError, TypeError, KeyError, RecursionError, OSError, EOFError, zlib.error) as error:
            raise Failed(_unreadable(dataset, place, error)) from error

    def _read(self, place: Place, store: Store) -> bytes:
        if self._is_chief:
            return store.read(place, self.patience, _MAX_BYTES)
        missing = "has not said which objects the inputs are"
        return chief.await_word(store, place, self.patience.seconds, self.patience, missing)

    def _found(self, dataset: Dataset) -> Sequence[Object]:
        return origin_of(dataset, self._store, self.patience.seconds).objects(dataset)


def _encode(dataset: Dataset, objects: Sequence[Object]) -> bytes:
    listed = [(one.path, one.size, one.version) for one in objects]
    text = json.dumps({"protocol": _PROTOCOL, "uri": dataset.uri, "objects": listed}, separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


def _decode(dataset: Dataset, pin: bytes) -> Sequence[Object]:
    """Raises ValueError, and what a text of unknown origin may come to."""
    value = json.loads(gzip.decompress(pin))
    if value["protocol"] != _PROTOCOL or value["uri"] != dataset.uri or not value["objects"]:
        raise ValueError("it is of another release, or of another address")
    found = tuple(_object(dataset, *entry) for entry in value["objects"])
    if (twice := shared_name(found)) is not None or (len(found) > 1 and not all(one.path for one in found)):
        raise ValueError(f"it has the path {twice or ''!r} for two files")
    return found


def _object(dataset: Dataset, path: Any, size: Any, version: Any) -> Object:
    if not isinstance(path, str) or not isinstance(size, int) or not isinstance(version, str):
        raise ValueError("it has an entry that is no object")
    if leaves_its_folder(path):
        raise ValueError(f"it has the path {path!r}")
    return Object(address_below(dataset, path), path, size, version)


def _unreadable(dataset: Dataset, place: Place, error: Exception) -> Failure:
    return Failure(
        Reason.DATASET_CHANGED,
        f"dataset {dataset.name}: {place}, which says what was read first, cannot be read itself: {error}",
        "Somebody has written there. A new TrainingJob reads what is there now.",
    )
