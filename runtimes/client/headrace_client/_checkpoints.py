"""Checkpoints: folders that the script fills and the launcher keeps in the object store.

A folder counts when it has its final name, so that one that is half written is never gone on from.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_client import _state
from headrace_client._wire import now, send

_POSITION = "headrace.json"
_kept = time.monotonic()  # when the last one was
_newest = 0  # its step


def last_checkpoint() -> Path | None:
    """The folder of the newest complete checkpoint of an earlier attempt, to be read; None where there is none."""
    folder = os.environ.get("HEADRACE_RESUME_DIR")
    return Path(folder) if folder else None


def last_step() -> int:
    """The step that `last_checkpoint` was made at; 0 where there is none."""
    folder = last_checkpoint()
    return 0 if folder is None else int(json.loads((folder / _POSITION).read_text())["step"])


def checkpoint_is_due() -> bool:
    """Whether spec.checkpoint.interval has passed since the last one, or since the start."""
    interval = os.environ.get("HEADRACE_CHECKPOINT_INTERVAL")
    return interval is not None and time.monotonic() - _kept >= float(interval)


@contextmanager
def checkpoint(*, step: int, epoch: int | None = None) -> Iterator[Path]:
    """An empty folder for the block to fill: `with checkpoint(step=100) as folder: ...`. It is complete when the block
    ends without an error, and is then kept. `step` has to grow from one to the next, also over attempts; `epoch`
    counts from 1.

    Raises ValueError where it does not. Where no checkpoints are kept the folder is a temporary one.
    """
    root = os.environ.get("HEADRACE_CHECKPOINT_DIR")
    if not root:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    newest = max(_newest, last_step())
    if step <= newest:
        raise ValueError(f"a checkpoint of step {step} after one of step {newest}: steps have to grow")
    target = Path(root) / f"ckpt-{step:08d}"
    unfinished = Path(root) / f".unfinished-{step}-{os.getpid()}"
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        (unfinished / _POSITION).write_text(json.dumps({"step": step}))
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _remember(step)
    of_epoch = (_state.epoch if epoch is None else epoch) - 1
    send("checkpoint", dir=str(target), fit=0, epoch=of_epoch, step=step, time=now())


def _remember(step: int) -> None:
    global _kept, _newest
    _kept, _newest = time.monotonic(), step
