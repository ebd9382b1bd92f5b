"""Checkpoints on the local disk: what is in one, written so that a folder with its final name is always complete.

    ckpt-00000120/state.json       where the run was, callbacks, and the metrics of the steps that followed (the replay)
    ckpt-00000120/arrays.npz       every variable of the model, its optimizer and metrics; absent between two fits
    ckpt-00000120/fit-0.json       the end of a fit that had finished, one pair of files a fit
    ckpt-00000120/fit-0.npz

The number counts every trained step of the script and one more for each finished fit, so that it only grows. A folder
is written under another name by one thread, synced, and renamed. Taking old folders away is the launcher's, which
knows what it has uploaded.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # a script need not have it
    import numpy as np

FORMAT_VERSION = 1

Arrays: TypeAlias = "dict[str, np.ndarray[Any, Any]]"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or does not fit the script."""


@dataclass(frozen=True)
class Position:
    """A place in a fit: `batches` done of `epoch` (from 0), `step` done of the whole fit."""

    fit: int
    epoch: int
    batches: int
    step: int


@dataclass(frozen=True)
class FinishedFit:
    """The end of a fit: `state` is plain JSON, `arrays` its variables and what else of it is an array."""

    state: dict[str, Any]
    arrays: Arrays


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint in memory. `state` and `arrays` are of the fit under way; both are empty between two fits."""

    number: int
    position: Position
    between_fits: bool
    state: dict[str, Any]
    arrays: Arrays
    replay: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"ckpt-{self.number:08d}"


@dataclass(frozen=True)
class Checkpoint:
    """A snapshot as it was read, with all fits that had finished before."""

    snapshot: Snapshot
    finished: tuple[FinishedFit, ...]


def write(directory: Path, snapshot: Snapshot, finished: int) -> Path:
    """Writes a snapshot with the `finished` fits kept below `directory`; the result is complete and synced."""
    target = directory / snapshot.folder
    partial = directory / f".{snapshot.folder}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if not snapshot.between_fits:
        _write_arrays(partial / "arrays.npz", snapshot.arrays)
    for index in range(finished):
        for name in _names(index):
            _link(_kept(directory) / name, partial / name)
    state = {
        "version": FORMAT_VERSION,
        "number": snapshot.number,
        "position": asdict(snapshot.position),
        "betweenFits": snapshot.between_fits,
        "finished": finished,
        "state": snapshot.state,
        "replay": [[step, metrics] for step, metrics in snapshot.replay.items()],
    }
    _write_json(partial / "state.json", state)
    _sync(partial)
    if target.exists():
        # Only where this process's predecessor used the same directory: the same steps were trained again.
        replaced = directory / f".{snapshot.folder}.replaced"
        target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced)
    else:
        partial.rename(target)
    _sync(directory)
    return target


def keep(directory: Path, index: int, fit: FinishedFit) -> None:
    """Keeps a finished fit for all checkpoints to come, which link to it."""
    _kept(directory).mkdir(parents=True, exist_ok=True)
    json_name, arrays_name = _names(index)
    _write_arrays(_kept(directory) / arrays_name, fit.arrays)
    _write_json(_kept(directory) / json_name, fit.state)


def read(folder: Path) -> Checkpoint:
    """Reads a checkpoint; raises CheckpointError when it is not one of ours, or damaged."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if state["version"] != FORMAT_VERSION:
            raise CheckpointError(f"{folder}: format {state['version']}; this launcher reads format {FORMAT_VERSION}")
        finished = []
        for index in range(state["finished"]):
            json_name, arrays_name = _names(index)
            fit_state = json.loads((folder / json_name).read_text(encoding="utf-8"))
            finished.append(FinishedFit(fit_state, _read_arrays(folder / arrays_name)))
        return Checkpoint(
            Snapshot(
                number=state["number"],
                position=Position(**state["position"]),
                between_fits=state["betweenFits"],
                state=state["state"],
                arrays={} if state["betweenFits"] else _read_arrays(folder / "arrays.npz"),
                replay={int(step): dict(metrics) for step, metrics in state["replay"]},
            ),
            tuple(finished),
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{folder} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


class Writer:
    """Writes snapshots one after another in a thread, so that a step waits for none of it."""

    def __init__(self, directory: Path, on_written: Callable[[Path, Position], None]) -> None:
        self._directory = directory
        self._on_written = on_written
        self._queue: queue.Queue[tuple[Snapshot, int]] = queue.Queue()
        threading.Thread(target=self._run, name="headrace-checkpoints", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is being written: the next one waits for its turn."""
        return self._queue.unfinished_tasks > 0

    def submit(self, snapshot: Snapshot, finished: int) -> None:
        """Hands a snapshot over."""
        self._queue.put((snapshot, finished))

    def wait(self, timeout: float) -> bool:
        """Waits until everything is written; False after `timeout` seconds."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: self._queue.unfinished_tasks == 0, timeout)

    def _run(self) -> None:
        while True:
            snapshot, finished = self._queue.get()
            try:
                folder = write(self._directory, snapshot, finished)
                self._on_written(folder, snapshot.position)
            except OSError as error:
                # Training is worth more than one checkpoint: the next one is due after the interval.
                print(f"headrace: the checkpoint {snapshot.folder} could not be written: {error}", file=sys.stderr)
            finally:
                self._queue.task_done()


def _kept(directory: Path) -> Path:
    return directory / ".finished"


def _names(index: int) -> tuple[str, str]:
    return f"fit-{index}.json", f"fit-{index}.npz"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())


def _read_arrays(path: Path) -> Arrays:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
