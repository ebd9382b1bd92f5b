"""Relative paths from outside: which of them may become a file below a folder of ours."""

from __future__ import annotations

MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255


def leaves_its_folder(path: str) -> bool:
    """Whether `path`, joined to a folder, may name something outside of it."""
    return path.startswith("/") or ".." in path.split("/")


def why_unsafe(path: str) -> str | None:
    """Why `path` must not be joined to a folder, or None when it is a plain relative path (`a/b/c`)."""
    if not path:
        return "is empty"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "has a control character"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/"):
        return "is absolute"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"has the part '{part}'"
        if len(part.encode()) > MAX_NAME_BYTES:
            return f"has a part longer than {MAX_NAME_BYTES} bytes"
    return None


def collision(paths: list[str]) -> str | None:
    """A path that occurs twice or that is a folder of another one, or None."""
    seen = set(paths)
    if len(seen) != len(paths):
        return next(path for path in paths if paths.count(path) > 1)
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            if parent in seen:
                return parent
    return None
