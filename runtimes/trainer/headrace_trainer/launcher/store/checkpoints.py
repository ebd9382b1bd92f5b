"""Checkpoints in S3, fenced by attempt: `URI/attempt-N/ckpt-M/…` with a manifest last. A stage may keep those of
different work apart: then they lie below `URI/WORK/`, and none is gone on from with another work.

An attempt writes below its own prefix only, since an earlier gang that was cut off may still be writing. It goes on
from the complete checkpoint of any earlier attempt that has come furthest (M only grows in a script, across its
fits). Which one that is the chief decides once and writes to `attempt-N/resume.json`: the other workers read it
there, so that all of a gang have the same one.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headrace_common import manifest
from headrace_common.paths import why_unsafe
from headrace_common.protocol.config import Checkpoints
from headrace_common.s3 import Place
from headrace_trainer.launcher import chief
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.log import log, unforeseen
from headrace_trainer.launcher.messages import Checkpoint
from headrace_trainer.launcher.store.contents import empty_folders, left_out, make_folders
from headrace_trainer.launcher.store.names import can_be_key, shown
from headrace_trainer.launcher.store.parts import Unfinished
from headrace_trainer.launcher.store.s3 import GivenUp, NotFound, Patience, Store
from headrace_trainer.launcher.tracking.metrics import Base

RESUME = "resume.json"
_NAMED = 5
_LOCAL = re.compile(r"ckpt-(\d+)")
_REMOTE = re.compile(r"attempt-(\d+)/(ckpt-(\d+))/(.+)")


@dataclass(frozen=True, order=True)
class Name:
    """Ordered by how far training had come."""

    number: int
    attempt: int
    folder: str

    @property
    def path(self) -> str:
        return f"attempt-{self.attempt}/{self.folder}"


@dataclass(frozen=True)
class Stored:
    """A complete checkpoint in S3. `epoch` counts from 0. In the run's metrics its fit begins at `base`, and one that
    comes after it at `after`: the fit may have ended before the checkpoint was taken.
    """

    uri: str
    attempt: int
    fit: int
    epoch: int
    step: int
    time: int
    base: Base = field(default_factory=Base)
    steps_per_epoch: int | None = None
    after: Base = field(default_factory=Base)


@dataclass(frozen=True)
class Upload:
    """A local checkpoint on its way, with what the launcher adds to its manifest."""

    checkpoint: Checkpoint
    base: Base
    after: Base
    steps_per_epoch: int | None


class Unnameable(Exception):
    """A file of a checkpoint has a name that the store cannot have."""


class CheckpointStore:
    """One job's checkpoints as one attempt sees them."""

    def __init__(self, settings: Checkpoints, attempt: int, store: Store) -> None:
        self._root = Place.parse(settings.uri)
        self._keep = settings.keep
        self._attempt = attempt
        self._store = store
        self._can_list_unfinished = True

    def keep_apart(self, work: str) -> None:
        """From here on there are those of this work only. Called before anything is read or written."""
        self._root = self._root.below(work)

    @property
    def outages(self) -> int:
        """How often the store has gone away."""
        return self._store.outages

    def choose(self, patience: Patience) -> list[str]:
        """The chief's: complete checkpoints of earlier attempts, the furthest first. Empty in a first attempt. What
        they had not written to its end is taken away.
        """
        if self._attempt == 1:
            return []
        complete, keys = self._list(patience)
        half_written = [
            key for name in keys.keys() - set(complete) if name.attempt < self._attempt for key in keys[name]
        ]
        try:
            self._delete(half_written, patience)
        except Failed as error:
            log(f"half-written checkpoints of earlier attempts stay for now: {error}")
        self._abort_unfinished(patience)
        return [name.path for name in sorted(complete, reverse=True) if name.attempt < self._attempt]

    def publish(self, chosen: str | None, patience: Patience) -> None:
        """The chief's: tell the gang. It is also the first write, so that a store that refuses is known before
        training.
        """
        self._store.write(self._pointer(), json.dumps({"checkpoint": chosen}).encode(), patience)

    def await_choice(self, patience: Patience) -> str | None:
        """The other workers': what the chief has chosen. Raises Failed (StorageUnavailable) where it never says."""
        missing = "has not chosen the checkpoint to resume from"
        return _chosen(chief.await_word(self._store, self._pointer(), patience.seconds, patience, missing))

    def download(self, path: str, folder: Path, patience: Patience) -> Stored | None:
        """The checkpoint `path` into `folder`; None where it is not whole, with a line in the log."""
        place = self._root.below(path)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            files, fields = manifest.decode(self._store.read(place.below(manifest.NAME), patience))
            stored = _stored(str(place), path, fields)
            for file in files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._store.download(place.below(file.path), target, patience)
                if manifest.sha256_of(target) != file.sha256:
                    raise ValueError(f"{file.path} is not what the manifest says")
            make_folders(folder, fields.get("folders", []))
        except (NotFound, ValueError) as error:
            log(f"the checkpoint {place} is not whole and is passed over: {error}")
            shutil.rmtree(folder)
            return None
        return stored

    def upload(self, upload: Upload, patience: Patience) -> Stored:
        """A local checkpoint to this attempt's prefix, the manifest last. Raises Unnameable, too."""
        checkpoint = upload.checkpoint
        place = self._root.below(f"attempt-{self._attempt}/{checkpoint.folder.name}")
        files = manifest.files_below(checkpoint.folder)
        folders = empty_folders(checkpoint.folder)
        for path in (*(file.path for file in files), *folders):
            if not can_be_key(place.below(path).key):
                raise Unnameable(f"its file {shown(path)} {why_unsafe(path) or 'has too long a name'}")
        fields = {
            "fit": checkpoint.fit,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "time": checkpoint.time,
            "base": asdict(upload.base),
            "after": asdict(upload.after),
            "stepsPerEpoch": upload.steps_per_epoch,
            **({"folders": folders} if folders else {}),
        }
        try:
            for file in files:
                self._store.upload(checkpoint.folder / file.path, place.below(file.path), patience)
            self._store.write(place.below(manifest.NAME), manifest.encode(files, fields), patience)
        except (GivenUp, Failed, OSError):
            self._discard(place)
            raise
        return Stored(
            uri=str(place),
            attempt=self._attempt,
            fit=checkpoint.fit,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            time=checkpoint.time,
            base=upload.base,
            after=upload.after,
        )

    def prune(self, patience: Patience) -> None:
        """Keep the newest of this and earlier attempts; never touch a later attempt's."""
        complete, keys = self._list(patience)
        kept = set(sorted((name for name in complete if name.attempt <= self._attempt), reverse=True)[: self._keep])
        for name, files in keys.items():
            if name not in kept and name.attempt <= self._attempt:
                self._delete(files, patience)
        self._abort_unfinished(patience)

    def _delete(self, files: list[str], patience: Patience) -> None:
        for key in sorted(files, key=lambda key: not key.endswith("/" + manifest.NAME)):  # the manifest first
            self._store.delete(Place(self._root.bucket, key), patience)

    def _discard(self, place: Place) -> None:
        """One that was given up, if the store answers at all; else a later `prune` finds it."""
        at_once = Patience(0.0)
        try:
            self._delete([item.key for item in self._store.list(place.below(""), at_once)], at_once)
        except (NotFound, Failed) as error:
            log(f"what there is of {place} stays for now: {error}")

    def _abort_unfinished(self, patience: Patience) -> None:
        """Uploads in parts that nobody goes on with. Some stores, and some policies, do not let them be listed; then
        the bucket's own lifecycle rule has to end them.
        """
        if not self._can_list_unfinished:
            return
        prefix = self._root.below("")

        def is_left_over(one: Unfinished) -> bool:
            match = _REMOTE.fullmatch(one.key[len(prefix.key) :])
            return match is not None and int(match[1]) <= self._attempt

        try:
            if count := self._store.abort_unfinished(prefix, is_left_over, patience):
                log(f"{count} half-sent files of earlier checkpoints are taken away")
        except (NotFound, Failed) as error:
            self._can_list_unfinished = False
            log(f"half-sent files of checkpoints cannot be looked for: {error}")

    def _list(self, patience: Patience) -> tuple[list[Name], dict[Name, list[str]]]:
        keys: dict[Name, list[str]] = {}
        complete = []
        prefix = self._root.below("")
        for item in self._store.list(prefix, patience):
            if match := _REMOTE.fullmatch(item.key[len(prefix.key) :]):
                name = Name(int(match[3]), int(match[1]), match[2])
                keys.setdefault(name, []).append(item.key)
                if match[4] == manifest.NAME:
                    complete.append(name)
        return complete, keys

    def _pointer(self) -> Place:
        return self._root.below(f"attempt-{self._attempt}/{RESUME}")


class Uploader:
    """Uploads in a thread of its own, one at a time; what came last wins over what waits or is stuck. It never fails
    the training: a store that is away or refuses costs checkpoints, and is said in the log and in the conditions.
    """

    def __init__(
        self,
        store: CheckpointStore,
        patience_seconds: float,
        on_stored: Callable[[Stored, float | None], None],
        warn: Callable[[str], None],
    ) -> None:
        """`on_stored` is told how many seconds it took, or None where the store was away meanwhile; `warn` what the
        store is not to blame for.
        """
        self._store = store
        self._patience = patience_seconds
        self._on_stored = on_stored
        self._warn = warn
        self._changed = threading.Condition()
        self._waiting: Upload | None = None
        self._busy = False
        self._told: set[str] = set()
        threading.Thread(target=self._run, name="uploader", daemon=True).start()

    def submit(self, upload: Upload) -> None:
        """Take a complete local checkpoint; it is deleted when it is uploaded, or when a newer one takes its turn."""
        if not _LOCAL.fullmatch(upload.checkpoint.folder.name):
            log(f"the checkpoint {upload.checkpoint.folder} is not named ckpt-NUMBER and is left out")
            return
        with self._changed:
            superseded, self._waiting = self._waiting, upload
            self._changed.notify_all()
        if superseded is not None:
            _remove(superseded)

    def wait(self, seconds: float) -> bool:
        """Whether everything was dealt with in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None)
                upload, self._waiting, self._busy = self._waiting, None, True
            if upload is not None:
                self._upload(upload)
                _remove(upload)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _upload(self, upload: Upload) -> None:
        patience = Patience(self._patience, is_wanted=lambda: self._waiting is None)
        name = upload.checkpoint.folder.name
        try:
            self._tell_left_out(upload.checkpoint.folder)
            began, outages = time.monotonic(), self._store.outages
            stored = self._store.upload(upload, patience)
            seconds = time.monotonic() - began
            self._on_stored(stored, seconds if self._store.outages == outages else None)
            self._store.prune(patience)
        except GivenUp:
            log(f"{name} is given up for a newer one")
        except Failed as error:
            log(f"{name} could not be kept: {error}")
        except (Unnameable, OSError) as error:  # OSError: a file that the script has changed or taken away meanwhile
            self._warn(f"{name} could not be kept: {error}")
        except Exception as error:  # noqa: BLE001 - it costs a checkpoint, and no training
            self._warn(f"{name} could not be kept: {unforeseen(error)}")

    def _tell_left_out(self, folder: Path) -> None:
        """Of each path once: the next checkpoint mostly has the same."""
        others = left_out(folder)
        if not others.keys() <= self._told:
            named = ", ".join(f"{shown(path)} ({kind})" for path, kind in list(others.items())[:_NAMED])
            more = f", and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            self._warn(f"{folder.name} is kept without {named}{more}")
        self._told |= others.keys()


def _remove(upload: Upload) -> None:
    shutil.rmtree(upload.checkpoint.folder, ignore_errors=True)


def _chosen(data: bytes) -> str | None:
    value = json.loads(data).get("checkpoint")
    return value if isinstance(value, str) and _REMOTE.fullmatch(f"{value}/x") else None


def _stored(uri: str, path: str, fields: dict[str, Any]) -> Stored:
    match = _REMOTE.fullmatch(f"{path}/{manifest.NAME}")
    if match is None:
        raise ValueError(f"{path} is not a checkpoint's place")
    try:
        base = Base(int(fields["base"]["steps"]), int(fields["base"]["epochs"]))
        step, epoch = int(fields["step"]), int(fields["epoch"])
        # One of an earlier release does not say.
        after = fields.get("after") or {"steps": base.steps + step, "epochs": base.epochs + epoch + 1}
        return Stored(
            uri=uri,
            attempt=int(match[1]),
            fit=int(fields["fit"]),
            epoch=epoch,
            step=step,
            time=int(fields["time"]),
            base=base,
            steps_per_epoch=fields.get("stepsPerEpoch"),
            after=Base(int(after["steps"]), int(after["epochs"])),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"its manifest lacks {error}") from error
