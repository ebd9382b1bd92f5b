"""Before a training: whether the rows that its model will be judged on have the columns that the spec names.

Hours later the evaluation would say it. Only what can be seen without the rows is looked at: the columns of the first
file, by its two ends. What cannot be looked at, or is not there yet, is no failure: the evaluation judges it.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from headrace_common.protocol.config import VARIABLE, HeldOut
from headrace_common.s3 import SCHEME
from headrace_trainer.evaluation.data.kinds import is_passed_over, suffix_of
from headrace_trainer.evaluation.refusal import called, no_column
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.origins.kind import Origin
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.parts import Changed
from headrace_trainer.launcher.store.s3 import NotFound, Store

# A line of names; and what Parquet and .npz have at their end.
_BEGIN_BYTES, _END_BYTES = 1 << 20, 16 << 20
SECONDS = 60.0  # for all of it: a store that is away is no reason to train later
_LINES = ".jsonl"  # any line may have another name
_TABLE = ".csv"
_SCRATCH = "held-out-"


class _NotSeen(Exception):
    """Why the columns cannot be told."""


def check_columns(held_out: HeldOut, store: Store | None, seconds: float = SECONDS) -> None:
    """Raises Failed (DataUnreadable), with the words of the evaluation, where a column is missing. Returns after so
    many seconds in any case.
    """
    where = called(held_out.dataset.name, held_out.path)
    try:
        there = _within(seconds, lambda: _columns(held_out, store, seconds))
    except (_NotSeen, Failed, NotFound, Changed, zlib.error) as error:
        log(
            f"{where}: its columns are looked at when the model is judged, and not before: {error or 'it is not there'}"
        )
        return
    for name, field in held_out.columns.items():
        if name not in there:
            refusal = no_column(where, name, there, field)
            raise Failed(Failure(refusal.reason, refusal.message, refusal.hint))


def _within(seconds: float, look: Callable[[], Sequence[str]]) -> Sequence[str]:
    """In a thread of its own, which is left to itself where it takes longer: each read has a patience of its own."""
    told: queue.Queue[Sequence[str] | Exception] = queue.Queue()

    def work() -> None:
        try:
            told.put(look())
        except Exception as error:  # noqa: BLE001 - raised below
            told.put(error)

    threading.Thread(target=work, name="held-out", daemon=True).start()
    try:
        found = told.get(timeout=seconds)
    except queue.Empty:
        raise _NotSeen(f"nobody has told them for {seconds:.0f} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _columns(held_out: HeldOut, store: Store | None, seconds: float) -> Sequence[str]:
    dataset = held_out.dataset
    if store is None and dataset.mount is None and dataset.uri.startswith(SCHEME):
        raise _NotSeen("this job has no storage to read it from")
    origin = origin_of(dataset, store, seconds)
    one = _first(held_out.path, origin.objects(dataset))
    if dataset.mount is not None:
        return _names_in(dataset.mount / one.path, seconds)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder:
        ends = Path(folder) / PurePosixPath(one.path).name
        _fetch_ends(held_out, one, origin, ends)
        if suffix_of(one.path) == _TABLE and not _has_a_line(ends, min(one.size, _BEGIN_BYTES), one.size):
            raise _NotSeen("its first line is longer than what is read of it")
        return _names_in(ends, seconds)


def _first(path: str, objects: Sequence[Object]) -> Object:
    """All files of a folder have the same columns, or the evaluation refuses them."""
    wanted = path.strip("/")
    exact = [one for one in objects if one.path == wanted and wanted]
    below = f"{wanted}/" if wanted else ""
    found = exact or [
        one for one in objects if one.path.startswith(below) and not is_passed_over(PurePosixPath(one.path).name)
    ]
    if not found:
        raise _NotSeen("there is no such file yet")
    first = min(found, key=lambda one: one.path)
    kind = suffix_of(first.path)
    if {suffix_of(one.path) for one in found} != {kind}:
        raise _NotSeen("there are files of several kinds")
    if kind == _LINES and first.size > _BEGIN_BYTES:
        raise _NotSeen(f"of a {_LINES} file all lines would have to be read")
    if not kind:
        raise _NotSeen("its name does not say what kind of file it is")
    if "=" in first.path:
        raise _NotSeen("a folder's name may be a column, too")
    return first


def _fetch_ends(held_out: HeldOut, one: Object, origin: Origin, target: Path) -> None:
    """A file as long as the object, in which all but its two ends is a hole."""
    begin, end = min(one.size, _BEGIN_BYTES), max(one.size - _END_BYTES, 0)
    try:
        with target.open("wb") as file:
            file.truncate(one.size)
            if one.size:
                file.write(origin.read(held_out.dataset, one, 0, begin))
            if (rest := max(begin, end)) < one.size:
                file.seek(rest)
                file.write(origin.read(held_out.dataset, one, rest, one.size))
    except OSError as error:
        raise _NotSeen(f"there is no room for it: {error.strerror or error}") from error


def _has_a_line(file: Path, there: int, size: int) -> bool:
    """Whether the first so many bytes hold all of the first line; a name of it that is quoted may have line breaks."""
    if there >= size:
        return True
    with file.open("rb") as opened:
        begin = opened.read(there)
    if file.name.endswith(".gz"):
        begin = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(begin, _BEGIN_BYTES)
    ends = (at for at, byte in enumerate(begin) if byte in b"\r\n")
    return any(begin[:at].strip() and begin.count(b'"', 0, at) % 2 == 0 for at in ends)


def _names_in(file: Path, seconds: float) -> Sequence[str]:
    """As the evaluation's libraries tell them; an image of one's own may have none of these."""
    command = [sys.executable, "-P", "-m", "headrace_trainer.evaluation.data", str(file)]
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    try:
        ended = subprocess.run(command, env=env, capture_output=True, timeout=seconds, check=False)
        if ended.returncode == 0:
            return [str(name) for name in json.loads(ended.stdout)]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise _NotSeen(f"nobody has read it: {type(error).__name__}") from error
    # What the library says may have a value of a row in it.
    raise _NotSeen("it cannot be read by its two ends, or by this image")
