"""Checkpoints on the local disk: what is in one, written so that a folder with its final name is always complete.

    ckpt-00000120/state.json       where the run was, callbacks, and the metrics of the steps that followed (the replay)
    ckpt-00000120/arrays.npz       every variable of the model, its optimizer and metrics, and the state of the data
                                   (keras.data_state); absent between two fits
    ckpt-00000120/fit-0.json       the end of a fit that had finished, one pair of files a fit
    ckpt-00000120/fit-0.npz
    ckpt-00000120/files/000007     the script's own files at that moment (script_files)

The number counts every trained step of the script and one more for each finished fit, so that it only grows. A folder
is written under another name by one thread, synced, and renamed; what could not be written whole is taken away.
Taking old folders away is the launcher's, which knows what it has uploaded.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from headrace_trainer.adapters import arrays as stored
from headrace_trainer.adapters.arrays import Array, StoredArrays
from headrace_trainer.adapters.script_files import ScriptFile

FORMAT_VERSION = 3
FILES = "files"
_PARTIAL = ".partial"
_REPLACED = ".replaced"

Arrays: TypeAlias = dict[str, Array]


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
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint. `state` and `arrays` are of the fit under way; both are empty between two fits. The arrays are in
    memory when it was taken, and on the disk when it was read.
    """

    number: int
    position: Position
    between_fits: bool
    state: dict[str, Any]
    arrays: Mapping[str, Array]
    replay: dict[int, dict[str, float]] = field(default_factory=dict)
    files: tuple[ScriptFile, ...] = ()

    @property
    def folder(self) -> str:
        return f"ckpt-{self.number:08d}"


@dataclass(frozen=True)
class Checkpoint:
    """A snapshot as it was read, with all fits that had finished before. `began` is when the job's first attempt did,
    in seconds since 1970.
    """

    snapshot: Snapshot
    finished: tuple[FinishedFit, ...]
    began: float | None = None

    @property
    def measured(self) -> set[str]:
        """The names of all that the epochs before it have measured."""
        states = [self.snapshot.state, *(fit.state for fit in self.finished)]
        return {name for state in states for scores in state.get("measured", {}).values() for name in scores}


def write(directory: Path, snapshot: Snapshot, finished: int, began: float | None = None) -> Path:
    """Writes a snapshot with the `finished` fits kept below `directory`; the result is complete and synced."""
    target = directory / snapshot.folder
    partial = directory / f".{snapshot.folder}{_PARTIAL}"
    with _whole(partial):
        _write_parts(directory, partial, snapshot, finished, began)
    if target.exists():
        # Only where this process's predecessor used the same directory: the same steps were trained again.
        replaced = directory / f".{snapshot.folder}{_REPLACED}"
        target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced)
    else:
        partial.rename(target)
    _sync(directory)
    return target


def _write_parts(directory: Path, partial: Path, snapshot: Snapshot, finished: int, began: float | None) -> None:
    partial.mkdir(parents=True)
    if not snapshot.between_fits:
        stored.write(partial / "arrays.npz", snapshot.arrays)
    for index in range(finished):
        for name in _names(index):
            _link(_kept(directory) / name, partial / name)
    if snapshot.files:
        (partial / FILES).mkdir()
        for file in snapshot.files:
            _link(copies(directory) / file.copy, partial / FILES / file.copy)
            _sync(partial / FILES / file.copy)
        _sync(partial / FILES)
    state = {
        "version": FORMAT_VERSION,
        "number": snapshot.number,
        "position": asdict(snapshot.position),
        "betweenFits": snapshot.between_fits,
        "finished": finished,
        "began": began,
        "state": snapshot.state,
        "replay": [[step, metrics] for step, metrics in snapshot.replay.items()],
        "files": [asdict(file) for file in snapshot.files],
    }
    _write_json(partial / "state.json", state)
    _sync(partial)


def keep(directory: Path, index: int, fit: FinishedFit) -> None:
    """Keeps a finished fit for all checkpoints to come, which link to it."""
    target = _kept(directory)
    target.mkdir(parents=True, exist_ok=True)
    json_name, arrays_name = _names(index)
    partial = directory / f".fit-{index}{_PARTIAL}"
    with _whole(partial):
        partial.mkdir()
        stored.write(partial / arrays_name, fit.arrays)
        _write_json(partial / json_name, fit.state)
    for name in (arrays_name, json_name):
        (partial / name).replace(target / name)
    partial.rmdir()


@contextmanager
def _whole(partial: Path) -> Iterator[None]:
    """Takes away what there was before, and what there is of it where it fails: a full disk must not stay full."""
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def remove_unfinished(directory: Path) -> list[str]:
    """Takes away what an earlier process of the same directory was writing when it was killed; the names of it."""
    found = sorted(path for path in directory.glob(".*") if path.name.endswith((_PARTIAL, _REPLACED)))
    for path in found:
        shutil.rmtree(path)
    return [path.name for path in found]


def copies(directory: Path) -> Path:
    """Where the script's files are copied to, for the checkpoints to link to."""
    return directory / ".files"


def is_of_script(folder: Path) -> bool:
    """Whether the script has filled it itself (headrace_client.checkpoint)."""
    return folder.is_dir() and not (folder / "state.json").exists()


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
            finished.append(FinishedFit(fit_state, StoredArrays(folder / arrays_name)))
        return Checkpoint(
            Snapshot(
                number=state["number"],
                position=Position(**state["position"]),
                between_fits=state["betweenFits"],
                state=state["state"],
                arrays={} if state["betweenFits"] else StoredArrays(folder / "arrays.npz"),
                replay={int(step): dict(metrics) for step, metrics in state["replay"]},
                files=tuple(ScriptFile(**file) for file in state.get("files", ())),
            ),
            tuple(finished),
            state.get("began"),
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{folder} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


class Writer:
    """Writes snapshots one after another in a thread, so that a step waits for none of it."""

    def __init__(
        self,
        directory: Path,
        on_written: Callable[[Path, Position], None],
        on_failed: Callable[[str], None],
        began: float | None = None,
    ) -> None:
        self._directory = directory
        self._began = began
        self._on_written = on_written
        self._on_failed = on_failed
        self._queue: queue.Queue[_Ended | _Taken] = queue.Queue()
        self._unkept: dict[int, FinishedFit] = {}
        if unfinished := remove_unfinished(directory):
            on_failed(f"{', '.join(unfinished)} had not been written to its end and is taken away")
        threading.Thread(target=self._run, name="headrace-checkpoints", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is being written: the next one waits for its turn."""
        return self._queue.unfinished_tasks > 0

    def keep(self, index: int, fit: FinishedFit) -> None:
        """Hands the end of a fit over, for all snapshots to come."""
        self._queue.put(_Ended(index, fit))

    def submit(self, snapshot: Snapshot, finished: int) -> None:
        """Hands a snapshot over."""
        self._queue.put(_Taken(snapshot, finished))

    def wait(self, timeout: float) -> bool:
        """Waits until everything is written; False after `timeout` seconds."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: self._queue.unfinished_tasks == 0, timeout)

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            name = item.name
            try:
                self._write(item)
            except (OSError, ValueError) as error:
                # Training is worth more than one checkpoint: the next one is due after the interval.
                self._on_failed(f"{name} could not be written, and what there was of it is taken away: {error}")
            finally:
                del item  # its memory is the next checkpoint's
                self._queue.task_done()

    def _write(self, item: _Ended | _Taken) -> None:
        if isinstance(item, _Ended):
            self._unkept[item.index] = item.fit
        # A fit that could not be kept is tried again with each snapshot: none is whole without it.
        for index in sorted(self._unkept):
            keep(self._directory, index, self._unkept[index])
            del self._unkept[index]
        if isinstance(item, _Taken):
            self._on_written(write(self._directory, item.snapshot, item.finished, self._began), item.snapshot.position)


@dataclass(frozen=True)
class _Ended:
    index: int
    fit: FinishedFit

    @property
    def name(self) -> str:
        return f"the end of fit {self.index}"


@dataclass(frozen=True)
class _Taken:
    snapshot: Snapshot
    finished: int

    @property
    def name(self) -> str:
        return f"the checkpoint {self.snapshot.folder}"


def _kept(directory: Path) -> Path:
    return directory / ".finished"


def _names(index: int) -> tuple[str, str]:
    return f"fit-{index}.json", f"fit-{index}.npz"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
