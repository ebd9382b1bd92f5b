"""What can go wrong: with the start of the server (a termination message) and with one request (a status)."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from pathlib import Path

from headrace_tensorflow_serving.codes import Code

log = logging.getLogger("headrace_tensorflow_serving")

MAX_TERMINATION_BYTES = 2000
MAX_ERROR_CHARACTERS = 500


class Reason(StrEnum):
    """Why the server did not start; README.md says when each one is reported."""

    BAD_CONFIG = "BadConfig"
    ADDRESS_IN_USE = "AddressInUse"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_CORRUPT = "ModelCorrupt"
    MODEL_UNSUPPORTED = "ModelUnsupported"


CLASS_OF = {
    Reason.BAD_CONFIG: "Config",
    Reason.ADDRESS_IN_USE: "Config",
    Reason.MODEL_NOT_FOUND: "Data",
    Reason.MODEL_CORRUPT: "Data",
    Reason.MODEL_UNSUPPORTED: "Data",
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
            "protocol": 1,
            "outcome": "Failed",
            "class": CLASS_OF[self.reason],
            "reason": self.reason.value,
            "message": self.message[:MAX_ERROR_CHARACTERS],
            "hint": self.hint,
            "digest": digest or None,
        }
        try:
            path.write_bytes(json.dumps(record).encode()[:MAX_TERMINATION_BYTES])
        except OSError as error:
            log.warning("cannot write the termination message to %s: %s", path, error)


class RequestError(Exception):
    """A request that gets an error for an answer.

    `code` is its status, `message` goes to the client. `http_status` is that of the code, where HTTP has no better one.
    """

    def __init__(self, code: Code, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message if len(message) <= MAX_ERROR_CHARACTERS else f"{message[:MAX_ERROR_CHARACTERS]}…"
        self.http_status = http_status or code.http_status


class OtherModelError(RequestError):
    """The request is for a model that is not served here, and so counts for none."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


class MethodNotAllowedError(RequestError):
    """The path is there, and `allowed` are the methods that it has. (The official server says 400.)"""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(Code.INVALID_ARGUMENT, f"{method} is not possible here", http_status=405)
        self.allowed = allowed
