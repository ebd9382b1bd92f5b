"""Which kind of file it is, by its name."""

from __future__ import annotations

from pathlib import PurePosixPath


def suffix_of(name: str) -> str:
    """Such as .csv, also of NAME.csv.gz."""
    return PurePosixPath(name.removesuffix(".gz")).suffix.lower()


def is_passed_over(name: str) -> bool:
    """In a folder: what other programs leave beside the rows."""
    return name.startswith((".", "_"))
