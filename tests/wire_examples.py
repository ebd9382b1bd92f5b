"""Documents that pods and the operator have sent one another, as they went over the wire: those who write them and
those who read them are tested with the same ones. Pods of an earlier release still write and read them, so a file that
is here is never changed; what is new gets a file of its own.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "wire"


def names(message: str) -> list[str]:
    """The examples of a kind: config, load, loading, loaded, progress or record."""
    return sorted(path.stem for path in _FOLDER.glob(f"{message}-*.json"))


def text(name: str) -> str:
    """An example, byte for byte."""
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8").removesuffix("\n")
