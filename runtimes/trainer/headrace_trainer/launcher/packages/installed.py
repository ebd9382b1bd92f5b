"""Which distributions a process finds: those of the image, and in front of them those of a folder. The first of a name
counts, as in an import.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple


class Pin(NamedTuple):
    """A distribution in one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def installed(*folders: Path) -> dict[str, Pin]:
    """By their canonical names; `folders` come before the interpreter's own."""
    found: dict[str, Pin] = {}
    for distribution in metadata.distributions(path=[*map(str, folders), *sys.path]):
        about = distribution.metadata  # which is parsed each time
        if name := about["Name"]:
            found.setdefault(canonical(name), Pin(name, about["Version"]))
    return found


def canonical(name: str) -> str:
    """How an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
