"""Why a model cannot be loaded, read from the words of its engine: a table of them becomes a reason and a hint.

Which words there are is each server's own: the engines' versions are pinned, and each row has a test with a real model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headrace_serving.failures import Reason, StartError, shortened

# Names in a model may be of any length, and none of what stands behind them may be cut off.
_MAX_NAME = 100


@dataclass(frozen=True)
class Refusal:
    """`message` and `hint` may use the named groups of `pattern` as fields."""

    pattern: re.Pattern[str]
    reason: Reason
    message: str
    hint: str


def refusal(table: Iterable[Refusal], text: str) -> StartError | None:
    """By the first row that fits `text`, what the engine says."""
    for row in table:
        if match := row.pattern.search(text):
            names = {key: shortened(value or "", _MAX_NAME) for key, value in match.groupdict().items()}
            return StartError(row.reason, row.message.format(**names), row.hint.format(**names))
    return None
