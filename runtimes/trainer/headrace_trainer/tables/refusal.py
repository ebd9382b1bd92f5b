"""Why a table is refused: one reason, what is wrong, and what to do."""

from __future__ import annotations

from headrace_common.protocol.reasons import Reason


class Refused(Exception):
    """Becomes the failure of the attempt. No value of a private column is in its words."""

    def __init__(self, reason: Reason, message: str, hint: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
