"""What makes an evaluation impossible and is somebody's to correct: told by one sentence, never by a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_NAMED = 20
_LONGEST = 80


class Refusal(Exception):
    """`message` says what is wrong and where, `hint` what to write instead. Neither has a value of a row."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def listed(names: Iterable[object]) -> str:
    """Names in a sentence, not too many and none too long."""
    found: Sequence[str] = [shortened(str(name)) for name in names]
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def shortened(text: str) -> str:
    """A name as a sentence can hold it."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _LONGEST else f"{one_line[: _LONGEST - 3]}..."
