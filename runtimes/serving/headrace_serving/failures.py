"""What can go wrong: with the start of a server (a termination message) and with one request (an HTTP status).

The servers raise these errors; entry.py and answers.py turn them into what is seen outside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from headrace_common.record import PROTOCOL, TerminationLog

log = logging.getLogger("headrace_serving")

MAX_ERROR_CHARACTERS = 500

# Nobody reads this answer; in the counters it must not look like a failure. The number is nginx's.
CLIENT_CLOSED = 499


class Reason(StrEnum):
    """Why a server did not start; each server's README.md says which of them it reports, and when."""

    BAD_CONFIG = "BadConfig"
    ADDRESS_IN_USE = "AddressInUse"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_CORRUPT = "ModelCorrupt"
    MODEL_INCOMPLETE = "ModelIncomplete"
    MODEL_UNSUPPORTED = "ModelUnsupported"
    MODEL_FAILS = "ModelFails"
    SIGNATURE_MISMATCH = "SignatureMismatch"
    NOT_EXPLAINABLE = "NotExplainable"


CLASS_OF = {
    Reason.BAD_CONFIG: "Config",
    Reason.ADDRESS_IN_USE: "Config",
    Reason.MODEL_NOT_FOUND: "Data",
    Reason.MODEL_CORRUPT: "Data",
    Reason.MODEL_INCOMPLETE: "Data",
    Reason.MODEL_UNSUPPORTED: "Data",
    Reason.MODEL_FAILS: "Data",
    Reason.SIGNATURE_MISMATCH: "Data",
    Reason.NOT_EXPLAINABLE: "Data",
}


class StartError(Exception):
    """The server cannot start, and trying again will not help."""

    def __init__(self, reason: Reason, message: str, hint: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint

    def write_termination_message(self, path: Path, digest: str) -> None:
        """Best effort: without the file (outside a pod) the log has to do."""
        record = {
            "protocol": PROTOCOL,
            "outcome": "Failed",
            "class": CLASS_OF[self.reason],
            "reason": self.reason.value,
            "message": self.message[:MAX_ERROR_CHARACTERS],
            "hint": self.hint,
            "digest": digest or None,
        }
        TerminationLog(
            path, lambda error: log.warning("cannot write the termination message to %s: %s", path, error)
        ).write(record)


class RequestError(Exception):
    """A request that gets an error for an answer. `status` is the HTTP status, `message` goes to the client, and where
    trying again may help (429, 503) it is told to do so after `retry_seconds`.
    """

    def __init__(self, status: int, message: str, retry_seconds: int = 1) -> None:
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds
        # A client may have sent half of a surrogate pair, which no protocol carries back.
        self.message = shortened(message, MAX_ERROR_CHARACTERS).encode(errors="replace").decode()


class IncompleteError(RequestError):
    """A request that never was one: its body did not come, because its client went away or was too slow."""


class MethodNotAllowedError(RequestError):
    """The path is there, and `allowed` are the methods that it has."""

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        super().__init__(405, f"{method} is not possible here")
        self.allowed = tuple(allowed)


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
