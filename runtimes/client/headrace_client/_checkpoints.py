"""Checkpoints: folders that the script fills and the launcher keeps in the object store.

A folder counts when it has its final name, so that one that is half written is never gone on from.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import SupportsIndex

from headrace_client import _followed, _state
from headrace_client._wire import count, now, send, to_write, variable

# The launcher's own files in a checkpoint.
_RESERVED = ("manifest.json", "unsent-metrics.jsonl")
# By this one those that are kept for a Keras script are told from its own.
_RESERVED_WHERE_FOLLOWED = (*_RESERVED, "state.json")

_kept_at = time.monotonic()
_newest: int | None = None


def last_checkpoint() -> Path | None:
    """The folder of the newest complete checkpoint of an earlier attempt, to be read; None where there is none.

    In a job of `framework: Keras`: of those that the script has made itself. One that asks for it is not saved by
    anybody else.
    """
    if _followed.follower is not None:
        _followed.follower.keeps_own()
        return _followed.follower.own_checkpoint()
    folder = variable("HEADRACE_RESUME_DIR")
    return Path(folder) if folder else None


def last_step() -> int:
    """The step that `last_checkpoint` was made at; 0 where there is none."""
    return int(variable("HEADRACE_RESUME_STEP") or 0) if last_checkpoint() is not None else 0


def resumed_step() -> int:
    """The step after which a loop of the script's own goes on, in a job of `framework: Keras`: so many steps of it are
    done, and its models and optimizers have the state that they had then, or get it with the first step. To be asked
    when they are there, right before the loop. 0 in a first attempt, and wherever else.
    """
    return 0 if _followed.follower is None else _followed.follower.resumed_step()


def checkpoint_is_due() -> bool:
    """Whether spec.checkpoint.interval has passed since the last one, or since the start."""
    interval = variable("HEADRACE_CHECKPOINT_INTERVAL")
    return interval is not None and time.monotonic() - _kept_at >= float(interval)


@contextmanager
def checkpoint(*, step: SupportsIndex, epoch: SupportsIndex | None = None) -> Iterator[Path]:
    """An empty folder for the block to fill: `with checkpoint(step=100) as folder: ...`. It is complete when the block
    ends without an error, and is then kept. `step` has to grow from one to the next, also over attempts; `epoch`
    counts from 1. Where no checkpoints are kept the folder is a temporary one, and so it is for all processes of a
    gang but rank 0.

    A job of `framework: Keras` is saved without this. Where the script does it, nobody else does, and what it has to
    go on from is what is in the folder.

    Raises ValueError where a step does not grow, for the names of files that Headrace has in a checkpoint itself, and
    for names that are not UTF-8.
    """
    at = count("step", step, 0)
    if _followed.follower is not None:
        _followed.follower.keeps_own()
    of_epoch = _state.epoch if epoch is None else count("epoch", epoch, 1)
    _must_grow(at)
    root = to_write("HEADRACE_CHECKPOINT_DIR")
    if root is not None:
        os.makedirs(root, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    try:
        yield unfinished
        _check_names(unfinished)
        if root is not None:
            target = Path(root) / f"ckpt-{at:08d}"
            os.chmod(unfinished, 0o755)
            unfinished.rename(target)
            send("checkpoint", dir=str(target), fit=0, epoch=of_epoch - 1, step=at, time=now())
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _remember(at)


def _must_grow(step: int) -> None:
    before = _newest if _newest is not None else last_step() if last_checkpoint() is not None else None
    if before is not None and step <= before:
        raise ValueError(f"a checkpoint of step {step} after one of step {before}: steps have to grow")


def _check_names(folder: Path) -> None:
    for name in _RESERVED if _followed.follower is None else _RESERVED_WHERE_FOLLOWED:
        if (folder / name).exists():
            raise ValueError(f"{name} is a file of Headrace's in a checkpoint: call it otherwise, or use a subfolder")
    for parent, folders, files in os.walk(os.fsencode(folder)):
        for name_in_bytes in (*folders, *files):
            try:
                name_in_bytes.decode()
            except UnicodeDecodeError:
                path = os.path.relpath(os.path.join(parent, name_in_bytes), os.fsencode(folder))
                shown = path.decode(errors="backslashreplace")
                raise ValueError(f"{shown} in a checkpoint: the object store has names in UTF-8 only") from None


def _remember(step: int) -> None:
    global _kept_at, _newest
    _kept_at, _newest = time.monotonic(), step
