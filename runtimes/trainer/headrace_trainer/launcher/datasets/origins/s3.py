"""s3://BUCKET/KEY: one object of exactly that key, or all below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace_common.protocol.config import Dataset
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets.objects import Object, found_below, in_terms_of_data
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store


class S3:
    """By the store that the job has anyway."""

    def __init__(self, store: Store, outage_seconds: float) -> None:
        self._store = store
        self._patience = Patience(outage_seconds)

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        with in_terms_of_data(dataset):
            return self._objects(dataset)

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        with in_terms_of_data(dataset):
            self._store.download_version(Place.parse(one.uri), target, one.version, self._patience)

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        with in_terms_of_data(dataset):
            return self._store.read_part(Place.parse(one.uri), one.version, begin, end, self._patience)

    def _objects(self, dataset: Dataset) -> Sequence[Object]:
        place = Place.parse(dataset.uri)
        if place.key and not place.key.endswith("/"):
            try:
                one = self._store.look(place, self._patience)
            except NotFound:
                pass
            else:
                return (Object(dataset.uri, "", one.size, one.version),)
        root = place.key.rstrip("/")
        prefix = Place(place.bucket, f"{root}/" if root else "")
        listed = self._store.list(prefix, self._patience)
        return found_below(dataset, ((item.key[len(prefix.key) :], item.size, item.version) for item in listed))
