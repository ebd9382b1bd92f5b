"""What the run keeps beside its model, as artifacts in MLflow:

    source/            the files of spec.source, as they ran
    environment.txt    the packages that the script could import, each with its version, as pip writes it
    outputs/           what the script has left in the folder `outputs` of its working directory

Whatever an attempt ended with they are uploaded, over those of an earlier attempt. They are worth no failure: what
could not be kept is told in the log, and in a tag of the run where that is still open. So is a file whose name the
store cannot have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.packages.installed import installed
from headrace_trainer.launcher.source import source_files
from headrace_trainer.launcher.store.names import MAX_KEY_BYTES, can_be_key, shown
from headrace_trainer.launcher.store.s3 import GivenUp, NotFound, Patience, Store

_MOST_ENTRIES = 20_000  # that are looked at
_NAMED = 5


@dataclass(frozen=True)
class Artifact:
    """A file, and its name below the run's artifacts."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Bounds:
    """How much is kept of a folder."""

    files: int
    size: int

    def __str__(self) -> str:
        return f"more than {self.files} files of {self.size >> 20} MiB in all"


_OF_OUTPUTS = _Bounds(1000, 1 << 30)
_OF_SOURCE = _Bounds(200, 10 << 20)  # an image may have a whole project there


@dataclass(frozen=True)
class _Room:
    """A local folder, and what it is called below the run's artifacts, which lie at `place`."""

    folder: Path
    name: str
    place: Place


def keep(source: Path | None, outputs: Path, packages: Path, place: Place, store: Store, patience: Patience) -> str:
    """Upload all of it to `place`; what was not kept and why, or "". Gives up, in the same way, when `patience` says
    that nobody wants it any more. `source` is None where nothing of it ran; `packages` is the folder of what
    requirements.txt names.
    """
    from_source, without_source = _of_source(source, place)
    from_outputs, without_outputs = _bounded(_own_files(outputs), _Room(outputs, "outputs", place), _OF_OUTPUTS)
    problems = [*without_source, *without_outputs]
    try:
        _write_environment(packages, place.below("environment.txt"), store, patience)
        for artifact in (*from_source, *from_outputs):
            if not patience.is_wanted():
                raise GivenUp
            try:
                store.upload(artifact.path, place.below(artifact.name), patience)
            except OSError as error:  # it is the script's, which may take it away
                problems.append(f"{artifact.name}: {error.strerror}")
    except (Failed, NotFound) as error:
        problems.append(f"not all of it could be stored: {error}")
    except GivenUp:
        problems.append("not all of it could be stored before the pod's end")
    return "; ".join(problems)


def _of_source(source: Path | None, place: Place) -> tuple[list[Artifact], list[str]]:
    return ([], []) if source is None else _bounded(source_files(source), _Room(source, "source", place), _OF_SOURCE)


def _bounded(files: Iterator[Path], room: _Room, bounds: _Bounds) -> tuple[list[Artifact], list[str]]:
    """The files within the bounds, by name, and what is left out in words."""
    kept: list[Artifact] = []
    too_much: list[str] = []
    unnameable: list[str] = []
    size = 0
    for path in sorted(islice(files, _MOST_ENTRIES)):
        try:
            size_of = path.stat().st_size
        except OSError:
            continue
        below = path.relative_to(room.folder).as_posix()
        if not can_be_key(room.place.below(f"{room.name}/{below}").key):
            unnameable.append(below)
        elif len(kept) >= bounds.files or size + size_of > bounds.size:
            too_much.append(below)
        else:
            size += size_of
            kept.append(Artifact(path, f"{room.name}/{below}"))
    names = f"of names that are not UTF-8, or longer than {MAX_KEY_BYTES} bytes"
    return kept, [_told(room.name, *one) for one in ((unnameable, names), (too_much, str(bounds))) if one[0]]


def _told(name: str, left_out: list[str], why: str) -> str:
    named = ", ".join(map(shown, left_out[:_NAMED])) + (", ..." if len(left_out) > _NAMED else "")
    return f"{name}: {len(left_out)} files are left out, {why}: {named}"


def _own_files(folder: Path) -> Iterator[Path]:
    """No links: a name of the script's is not to bring other files of the pod into the run."""
    for parent, _, names in os.walk(folder, followlinks=False):
        yield from (path for name in names if not (path := Path(parent, name)).is_symlink() and path.is_file())


def _write_environment(packages: Path, place: Place, store: Store, patience: Patience) -> None:
    lines = sorted(map(str, installed(packages).values()), key=str.lower)
    store.write(place, "".join(f"{line}\n" for line in lines).encode(), patience)
