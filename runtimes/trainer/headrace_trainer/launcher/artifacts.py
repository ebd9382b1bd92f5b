"""What the run keeps beside its model, as artifacts in MLflow:

    source/            the files of spec.source, as they ran
    environment.txt    the packages that the script could import, each with its version, as pip writes it
    outputs/           what the script has left in the folder `outputs` of its working directory

Whatever an attempt ended with they are uploaded, over those of an earlier attempt. They are worth no failure: what
could not be kept is told in the log, and in a tag of the run where that is still open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from headrace_common.s3 import Place
from headrace_trainer.launcher.failures import Failed
from headrace_trainer.launcher.installed import installed
from headrace_trainer.launcher.s3 import GivenUp, NotFound, Patience, Store

MOST_FILES = 1000
MOST_BYTES = 1 << 30
_SOURCE_FILES, _SOURCE_BYTES = 200, 10 << 20  # an image may have a whole project there
_MOST_ENTRIES = 20_000  # that are looked at
_NAMED = 5


@dataclass(frozen=True)
class Artifact:
    """A file, and its name below the run's artifacts."""

    path: Path
    name: str


def keep(source: Path, outputs: Path, packages: Path, place: Place, store: Store, patience: Patience) -> str:
    """Upload all of it to `place`; what was not kept and why, or "". Gives up, in the same way, when `patience` says
    that nobody wants it any more. `packages` is the folder of what requirements.txt names.
    """
    from_source, without_source = _bounded(source, "source", _SOURCE_FILES, _SOURCE_BYTES, _source_files)
    from_outputs, without_outputs = _bounded(outputs, "outputs", MOST_FILES, MOST_BYTES, _own_files)
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


def _bounded(
    folder: Path, name: str, most_files: int, most_bytes: int, files: Callable[[Path], Iterator[Path]]
) -> tuple[list[Artifact], list[str]]:
    """The files of a folder within the bounds, by name, and what is left out in words."""
    kept: list[Artifact] = []
    left_out: list[str] = []
    size = 0
    for path in sorted(islice(files(folder), _MOST_ENTRIES)):
        try:
            size_of = path.stat().st_size
        except OSError:
            continue
        below = path.relative_to(folder).as_posix()
        if len(kept) >= most_files or size + size_of > most_bytes:
            left_out.append(below)
            continue
        size += size_of
        kept.append(Artifact(path, f"{name}/{below}"))
    if not left_out:
        return kept, []
    named = ", ".join(left_out[:_NAMED]) + (", ..." if len(left_out) > _NAMED else "")
    bounds = f"{most_files} files of {most_bytes >> 20} MiB in all"
    return kept, [f"{name}: {len(left_out)} files are left out, more than {bounds}: {named}"]


def _own_files(folder: Path) -> Iterator[Path]:
    """No links: a name of the script's is not to bring other files of the pod into the run."""
    for parent, _, names in os.walk(folder, followlinks=False):
        yield from (path for name in names if not (path := Path(parent, name)).is_symlink() and path.is_file())


def _source_files(folder: Path) -> Iterator[Path]:
    """A ConfigMap's files are links to those of a hidden folder beside them."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(("..", ".git", "__pycache__")) for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def _write_environment(packages: Path, place: Place, store: Store, patience: Patience) -> None:
    lines = sorted(map(str, installed(packages).values()), key=str.lower)
    store.write(place, "".join(f"{line}\n" for line in lines).encode(), patience)
