"""The termination message: how the operator learns what became of a load."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from headrace_common.protocol.loading import Loading
from headrace_common.record import PROTOCOL, TerminationLog
from headrace_loader.failures import LoadError

log = logging.getLogger("headrace_loader")


def succeeded(digest: str, loading: Loading) -> dict[str, Any]:
    """All of it lies in the pod."""
    return {"outcome": "Succeeded", "digest": digest, **loading.as_json()}


def failed(error: LoadError, digest: str | None, seconds: float) -> dict[str, Any]:
    """`digest` is the one that was asked for."""
    return {
        "protocol": PROTOCOL,
        "outcome": "Failed",
        "class": error.failure_class.value,
        "reason": error.reason.value,
        "message": error.message,
        "hint": error.hint,
        "digest": digest,
        "bytes": 0,
        "seconds": round(seconds, 3),
    }


def write(record: dict[str, Any], path: Path) -> None:
    """Best effort: without the file (outside a pod) the log has to do."""
    TerminationLog(
        path, lambda error: log.warning("cannot write the termination message to %s: %s", path, error)
    ).write(record)
