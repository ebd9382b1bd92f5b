"""What the executors of Spark have written to the store, below an address of one attempt: digested there, and copied by
the store itself to where the dataset lies.

A name that Spark gives to a file has a random part for each write. It is left out where that is unambiguous: what is
made again has the same names then. Marks of a write that ended (_SUCCESS), and what is left of one that did not
(_temporary), are no data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from headrace_common.manifest import File
from headrace_common.paths import collision
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets import contents
from headrace_trainer.launcher.datasets.at_once import for_each
from headrace_trainer.launcher.datasets.contents import Contents
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.names import shown
from headrace_trainer.launcher.store.s3 import Listed, NotFound, Patience, Store

_AT_ONCE = 8
_ATTEMPT = "attempt-"
_RANDOM = re.compile(r"^(part-[0-9]{5,})-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}((?:[-.].*)?)$")
_HOW = (
    "The program writes below the address that HEADRACE_DATASET_DIR names, such as "
    "frame.write.parquet(os.environ['HEADRACE_DATASET_DIR'] + '/train'). Correct it in a new TrainingJob."
)


@dataclass(frozen=True)
class _Source:
    key: str
    size: int
    version: str


class Staged:
    """Of one attempt. `place` is its address."""

    def __init__(self, place: Place, store: Store, patience: Patience) -> None:
        self._place = place
        self._store = store
        self._patience = patience
        self._sources: Mapping[str, _Source] = {}

    def read(self, room: Place) -> Contents:
        found = self._list()
        self._sources = names(found)
        faults = {
            path: fault for path in sorted(self._sources) if (fault := contents.fault_of_path(path, room)) is not None
        }
        if faults:
            raise Failed(contents.no_dataset(contents.told(faults), _HOW))
        if not found:
            raise Failed(
                contents.no_dataset(f"the program ended with exit code 0, and left nothing below {self._place}", _HOW)
            )
        digests: dict[str, str] = {}

        def digest(path: str) -> None:
            digests[path] = self._digest(path)

        for_each(sorted(self._sources), digest, _AT_ONCE)
        files = tuple(File(path, digests[path], self._sources[path].size) for path in sorted(self._sources))
        return Contents(files, contents.digest_of_files(files), {})

    def put(self, files: Sequence[File], place: Place) -> None:
        def copy(file: File) -> None:
            source = Place(self._place.bucket, self._sources[file.path].key)
            try:
                self._store.copy(source, place.below(file.path), self._patience)
            except NotFound as error:
                raise Failed(_changed(file.path)) from error

        for_each(files, copy, _AT_ONCE)

    def check_unchanged(self, found: Contents) -> None:
        """By the versions of the objects, of which there are no others meanwhile."""
        now = names(self._list())
        if now != self._sources:
            raise Failed(_changed(min(path for path, _ in now.items() ^ self._sources.items())))

    def clear(self, patience: Patience | None = None) -> None:
        """Take it away, with that of earlier attempts: it lies where the dataset is. A later attempt may write beside
        it already, since one whose node is taken for lost may go on. Where the patience ends before, the rest stays.
        Raises Failed, NotFound.
        """
        patience = patience or self._patience
        above = Place(self._place.bucket, self._place.key.rpartition("/")[0]).below("")
        mine = attempt_in(self._place.key[len(above.key) :])
        keys = [one.key for one in self._store.list(above, patience)]
        numbers = {key: attempt_in(key[len(above.key) :].partition("/")[0]) for key in keys}
        over = [key for key, number in numbers.items() if number is not None and mine is not None and number <= mine]
        wanted = takewhile(lambda _: patience.is_wanted(), over)
        for_each(wanted, lambda key: self._store.delete(Place(above.bucket, key), patience), _AT_ONCE)

    def _list(self) -> dict[str, Listed]:
        prefix = self._place.below("")
        listed = self._store.list(prefix, self._patience)
        return {path: one for one in listed if is_data(path := one.key[len(prefix.key) :])}

    def _digest(self, path: str) -> str:
        source = self._sources[path]
        try:
            return self._store.sha256(Place(self._place.bucket, source.key), self._patience)
        except NotFound as error:
            raise Failed(_changed(path)) from error


def folder_of(attempt: int) -> str:
    """Where one attempt's executors write, below the address of the job."""
    return f"{_ATTEMPT}{attempt}"


def attempt_in(folder: str) -> int | None:
    """Whose folder it is; None where it is no attempt's."""
    number = folder.removeprefix(_ATTEMPT)
    return int(number) if number != folder and number.isdecimal() else None


def is_data(path: str) -> bool:
    """Whether it is a file of the dataset, and nothing that a write of Spark's leaves beside."""
    *folders, name = path.split("/")
    return bool(name) and name != "_SUCCESS" and "_temporary" not in folders


def names(found: Mapping[str, Listed]) -> dict[str, _Source]:
    """The objects by the paths that they get. Of a folder in which two would get one name all keep their own."""
    by_folder: dict[str, list[str]] = {}
    for path in found:
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    given: dict[str, str] = {}
    for paths in by_folder.values():
        short = {path: _without_random(path) for path in paths}
        is_clear = len(set(short.values())) == len(paths)
        given |= short if is_clear else {path: path for path in paths}
    if collision(list(given.values())) is not None:
        given = {path: path for path in found}
    return {given[path]: _Source(one.key, one.size, one.version) for path, one in found.items()}


def _without_random(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    matched = _RANDOM.match(name)
    return path if matched is None else f"{folder}{slash}{matched[1]}{matched[2]}"


def _changed(path: str) -> Failure:
    return contents.no_dataset(
        f"{shown(path)} was written, or taken away, after the program had ended",
        "Another program writes below this job's address, or an executor that was cut off does: the next TrainingJob "
        "begins with an empty one.",
    )
