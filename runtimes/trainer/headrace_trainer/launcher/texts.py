"""Words of the script's, as they are shown in a status, a tag or a table: one line, without what steers a terminal."""

from __future__ import annotations

import re

# A colour, a link or a title (they end with BEL or ESC \), any other sequence of two.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Without escapes and control characters; lines stay lines."""
    return _CONTROL.sub("", _ESCAPES.sub("", text.replace("\r", "\n")))


def one_line(text: str) -> str:
    """A sentence, or several, of what may be in many lines."""
    return " ".join(plain(text).split())
