"""Values out of JSON that user code may have written: each is checked for its type and cut to a bound, nothing is
believed because it parsed, and nothing raises. What does not fit is as good as absent.
"""

from __future__ import annotations

import math
import re
from typing import Any

from headrace_common.json_numbers import from_json

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
JOB = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # NAMESPACE/NAME
MAX_TEXT = 1024
_MAX_NAMES = 8
_MAX_NAME = 32


def text(value: Any) -> str:
    """At most MAX_TEXT characters, "" where it is none."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def tail(value: Any) -> str:
    """The last MAX_TEXT characters, "" where it is none: the end of a log tells why."""
    return value[-MAX_TEXT:] if isinstance(value, str) else ""


def integer(value: Any) -> int | None:
    """One that every JSON parser reads exactly."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def count(value: Any) -> int | None:
    """An integer that is not negative."""
    found = integer(value)
    return found if found is not None and found >= 0 else None


def number(value: Any) -> float | None:
    """A finite one."""
    found = None if isinstance(value, str) else from_json(value)
    return found if found is not None and math.isfinite(found) else None


def metric(value: Any) -> float | None:
    """A number, or NaN and infinities by name."""
    return from_json(value) if isinstance(value, str) else number(value)


def names(value: Any) -> tuple[str, ...]:
    """A few short ones."""
    return tuple(text(one)[:_MAX_NAME] for one in value[:_MAX_NAMES]) if isinstance(value, list) else ()
