"""Where a script has left what is to be a dataset: in a folder of the pod, or below an address of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headrace_common.manifest import File
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets import contents
from headrace_trainer.launcher.datasets.contents import Contents
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.s3 import Patience, Store


class Left(Protocol):
    """What was left. Methods raise Failed (NoDataset, Storage…)."""

    def read(self, room: Place) -> Contents:
        """All of it, as a dataset whose files may lie at `room`."""
        ...

    def put(self, files: Sequence[File], place: Place) -> None:
        """Its files, to below there."""
        ...

    def check_unchanged(self, found: Contents) -> None:
        """That it still is what was read."""
        ...


class LeftInFolder:
    """By a script of one pod."""

    def __init__(self, folder: Path, store: Store, patience: Patience) -> None:
        self._folder = folder
        self._store = store
        self._patience = patience
        self._found: Contents | None = None

    def read(self, room: Place) -> Contents:
        self._found = contents.read(self._folder, room)
        return self._found

    def put(self, files: Sequence[File], place: Place) -> None:
        try:
            for file in files:
                self._store.upload(self._folder / file.path, place.below(file.path), self._patience)
        except OSError as error:
            if self._found is not None:
                contents.check_unchanged(self._folder, self._found)  # it may have been taken away meanwhile
            raise Failed(contents.cannot_be_read(error)) from error

    def check_unchanged(self, found: Contents) -> None:
        contents.check_unchanged(self._folder, found)
