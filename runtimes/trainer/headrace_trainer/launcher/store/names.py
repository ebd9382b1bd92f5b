"""Names of files that a script has made: which of them can be a key in the store, and how any of them is told."""

from __future__ import annotations

import os

MAX_KEY_BYTES = 1024


def can_be_key(key: str) -> bool:
    """Whether the store can have an object of this name: UTF-8, and not too long. A file's name may be any bytes."""
    try:
        return len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def shown(name: str) -> str:
    """A file's name for people: bytes that are no text as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")
