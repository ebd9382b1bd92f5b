"""Where in the user's own source an exception came from (pure): in a traceback through libraries that is the line which
its author can do something about, and the end of the log may not have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

Frame = tuple[str, int]

_FRAME = re.compile(r'^  File "([^"\n]+)", line (\d+)', re.MULTILINE)
# What Python itself says at the end of a syntax error.
_SAID = re.compile(r", line \d+\)$")
# A ConfigMap's files are links into a folder of the kubelet's: ..data, ..2026_11_30_02_00_00.123.
_OF_KUBELET = re.compile(r"(?<=/)\.\.(?:data|\d{4}(?:_\d\d){5}\.\d+)/")


def frames_in(traceback: str) -> tuple[Frame, ...]:
    """Of a traceback's text, the outermost first."""
    return tuple((file, int(line)) for file, line in _FRAME.findall(traceback))


def place_in(source: Path, frames: Iterable[Frame]) -> str:
    """`train.py, line 5`: the innermost frame inside of `source`, relative to it. Empty where none is."""
    folders = [f"{folder}/" for folder in (source, source.resolve())]
    found = ""
    for file, line in frames:
        for folder in folders:
            if file.startswith(folder) and "/site-packages/" not in file:
                found = f"{without_kubelet(file)[len(folder) :]}, line {line}"
    return found


def with_place(message: str, place: str) -> str:
    """The message, and where it came from."""
    return message if not place or _SAID.search(message) else f"{message} ({place})".strip()


def without_kubelet(text: str) -> str:
    """Paths as they are in the source."""
    return _OF_KUBELET.sub("", text)
