"""Texts for people that are made of parts."""

import math
from collections.abc import Iterable

MAX_NAMED = 5


def joined(what: str, hint: str) -> str:
    """What happened and what to do about it: two sentences where the second begins like one, else one."""
    what = what.rstrip().removesuffix(".")
    if not what or not hint:
        return what or hint
    return f"{what}. {hint}" if hint[0].isupper() else f"{what}; {hint}"


def listed(names: Iterable[str]) -> str:
    """The first few of the names, and how many more there are."""
    known = sorted(names)
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    return ", ".join(known[:MAX_NAMED]) + more


def bytes_said(count: int) -> str:
    """A number of bytes, in the largest unit that it has one of."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def rounded(value: str) -> str:
    """A number to four digits; what is none as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:.4g}" if math.isfinite(number) else value
