"""The termination message of a container: what outlives the pod. One JSON object of at most 2,000 bytes, rewritten as
things go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROTOCOL = 1
MAX_BYTES = 2000
_TEXTS = ("message", "hint", "modelNote")
_FIRST_WORDS = 240
JSONObject = dict[str, Any]


def encode(record: Mapping[str, Any]) -> bytes:
    """`record` as JSON in at most MAX_BYTES bytes.

    What is too long loses, in this order: the head of logTail, the end of message, of hint and of modelNote but for
    their first words, metrics, those words, and then whatever else is not needed to know who failed and why.
    """
    shown = dict(record)
    if _fits(shown):
        return _dump(shown)
    _shorten(shown, "logTail", lambda text, keep: text[len(text) - keep :])
    for name in _TEXTS:
        _shorten(shown, name, lambda text, keep: text[: max(keep, _FIRST_WORDS)])
    _shorten_metrics(shown)
    for name in _TEXTS:
        _shorten(shown, name, lambda text, keep: text[:keep])
    for name in ("resume", "progress", "checkpoint", "run", "model", "dataset", "evaluation"):
        if _fits(shown):
            break
        shown.pop(name, None)
    return _dump(shown)


class TerminationLog:
    """Writes records to the file that the kubelet reads. It is a mount of its own, so it cannot be replaced by a
    rename.
    """

    def __init__(self, path: Path, complain: Callable[[OSError], None]) -> None:
        """`complain` is called once, where the file cannot be written: outside a pod there may be none."""
        self._path = path
        self._complain = complain
        self._length = 0
        self._is_lost = False

    def write(self, record: Mapping[str, Any]) -> None:
        """One write call, padded with blanks to cover what was there before: at every moment the file is one JSON
        text.
        """
        text = encode(record)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, text.ljust(self._length), 0)
                os.ftruncate(descriptor, len(text))
            finally:
                os.close(descriptor)
        except OSError as error:  # no reason to end what the container is for
            if not self._is_lost:
                self._complain(error)
            self._is_lost = True
            return
        self._length = len(text)


def _dump(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace")


def _fits(record: Mapping[str, Any]) -> bool:
    return len(_dump(record)) <= MAX_BYTES


def _shorten(record: JSONObject, name: str, cut: Callable[[str, int], str]) -> None:
    """Keep as much of the text `name` as fits; escaping makes lengths uneven, so it is searched for."""
    text = record.get(name)
    if not text or _fits(record):
        return
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if _fits({**record, name: cut(text, middle)}):
            low = middle
        else:
            high = middle - 1
    record[name] = cut(text, low)


def _shorten_metrics(record: JSONObject) -> None:
    metrics = dict(record.get("metrics") or {})
    while metrics and not _fits(record):
        metrics.popitem()
        record["metrics"] = metrics
