"""A place that datasets come from, as all others see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headrace_common.protocol.config import Dataset
from headrace_trainer.launcher.datasets.objects import Object


class Origin(Protocol):
    """Thread-safe. Every method raises Failed: in terms of the data where the place refuses, StorageUnavailable where
    it stays away.
    """

    def objects(self, dataset: Dataset) -> Sequence[Object]:
        """What the address names: at least one, in the order of their paths."""
        ...

    def fetch(self, dataset: Dataset, one: Object, target: Path) -> None:
        """An object of the dataset as it was when it was listed; `target` appears when it is complete. Raises
        NotFound where it is gone, Changed where it is another one by now, too.
        """
        ...

    def read(self, dataset: Dataset, one: Object, begin: int, end: int) -> bytes:
        """The bytes of an object from `begin` up to `end`, of one that is streamed. Raises as `fetch` does."""
        ...
