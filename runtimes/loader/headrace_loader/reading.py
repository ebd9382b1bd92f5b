"""Reads that go on where they broke, for as long as storage may be away. Thread-safe: many of them share a patience."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from headrace_loader.failures import CHANGED_AFTER_EXPORT, LoadError, Reason
from headrace_loader.storage import Interrupted, ObjectPart, ObjectStore

log = logging.getLogger("headrace_loader")

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
_TELL_SECONDS = 5.0


class Stopped(Exception):
    """The load has failed elsewhere: nobody wants these bytes any more."""


class Patience:
    """How long storage may be away: so many seconds without one byte for any of those who read. Setting `stop` ends
    their waiting.
    """

    def __init__(self, seconds: float, stop: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.stop = stop or threading.Event()
        self.problem = ""  # why no byte comes at present
        self._last_byte = time.monotonic()
        self._told_at = 0.0

    def byte_came(self) -> None:
        self._last_byte = time.monotonic()
        self.problem = ""

    def pause(self, seconds: float, since: float, key: str, offset: int, problem: str) -> None:
        """Wait before the next try of a read that began at `since`, in seconds of the monotonic clock. Raises
        LoadError(StorageUnavailable), and Stopped.
        """
        waited = time.monotonic() - max(self._last_byte, since)
        if waited + seconds > self.seconds:
            raise LoadError(
                Reason.STORAGE_UNAVAILABLE,
                f"Reading {key} failed for {waited:.0f} s: {problem}.",
                "Storage is tried again when the pod restarts; check that storage.endpoint can be reached from this"
                " namespace.",
            )
        self.problem = problem
        if time.monotonic() - self._told_at >= _TELL_SECONDS:  # all who read say the same
            self._told_at = time.monotonic()
            log.warning("reading %s: %s; next try in %.2f s at byte %d", key, problem, seconds, offset)
        if self.stop.wait(seconds):
            raise Stopped


@dataclass(frozen=True)
class Wanted:
    """Bytes of an object from `begin` up to `end`, which None is its own end. `check` is given each answer before its
    bytes are taken, and raises where it is not of the object that is meant.
    """

    key: str
    check: Callable[[ObjectPart], None]
    begin: int = 0
    end: int | None = None


def read(store: ObjectStore, wanted: Wanted, patience: Patience) -> Iterator[bytes]:
    """The bytes in pieces; a broken read goes on at the byte where it broke.

    Raises ObjectNotFound, Stopped, LoadError, and what `wanted.check` raises.
    """
    offset, end, since = wanted.begin, wanted.end, time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with closing(store.read(wanted.key, offset, end)) as part:
                wanted.check(part)
                end = part.size if end is None else end
                for chunk in part.chunks:
                    if patience.stop.is_set():
                        raise Stopped
                    offset += len(chunk)
                    patience.byte_came()
                    pause = FIRST_PAUSE_SECONDS
                    yield chunk
            problem = f"it ended after {offset} of {end} bytes"
        except Interrupted as interruption:
            problem = str(interruption)
        if end is not None and offset >= end:
            return
        patience.pause(pause, since, wanted.key, offset, problem)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def must_have(key: str, part: ObjectPart, size: int) -> None:
    """Raises LoadError(FileCorrupt) where an object has another size in bytes than it is to have."""
    if part.size != size:
        raise LoadError(
            Reason.FILE_CORRUPT, f"{key} has {part.size} bytes; the manifest says {size}.", CHANGED_AFTER_EXPORT
        )
