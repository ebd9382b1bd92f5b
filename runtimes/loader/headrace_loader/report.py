"""The termination message: how the operator learns what became of a load."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from headrace_loader.failures import LoadError
from headrace_loader.load import Loaded

log = logging.getLogger("headrace_loader")

MAX_MESSAGE_BYTES = 2000


def succeeded(loaded: Loaded, seconds: float) -> dict[str, Any]:
    return {
        "protocol": 1,
        "outcome": "Succeeded",
        "digest": loaded.digest,
        "bytes": loaded.size_bytes,
        "fetchedBytes": loaded.fetched_bytes,
        "seconds": round(seconds, 3),
    }


def failed(error: LoadError, digest: str | None, seconds: float) -> dict[str, Any]:
    """`digest` is the one that was asked for."""
    return {
        "protocol": 1,
        "outcome": "Failed",
        "class": error.failure_class.value,
        "reason": error.reason.value,
        "message": error.message,
        "hint": error.hint,
        "digest": digest,
        "bytes": 0,
        "seconds": round(seconds, 3),
    }


def encode(record: dict[str, Any]) -> bytes:
    """The record as JSON of at most MAX_MESSAGE_BYTES; the message is what is shortened."""
    encoded = json.dumps(record, ensure_ascii=False).encode(errors="replace")
    while len(encoded) > MAX_MESSAGE_BYTES:
        kept = record["message"][: len(record["message"]) * 3 // 4]
        record = {**record, "message": kept}
        encoded = json.dumps({**record, "message": f"{kept}…"}, ensure_ascii=False).encode(errors="replace")
    return encoded


def write(record: dict[str, Any], path: Path) -> None:
    """Best effort: without the file (outside a pod) the log has to do."""
    try:
        path.write_bytes(encode(record))
    except OSError as error:
        log.warning("cannot write the termination message to %s: %s", path, error)
