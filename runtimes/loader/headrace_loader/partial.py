"""What has been fetched of a model that is not complete yet, so that the next start goes on from there.

Beside the files lies a journal: for which model they are, and which spans of which version of an object lie in them. It
may lag behind the files, never the other way round, as long as the machine stays up; what it says is proven by the
files' sums in any case.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace_loader.ranges import Span, merged

_FILES, _JOURNAL = "files", "journal"


@dataclass
class _Known:
    """Of one file; `tag` is the ETag of the object whose bytes it has."""

    tag: str = ""
    spans: list[Span] = field(default_factory=list)


class Partial:
    """The folder `folder`, for the files of these sizes of the model of this digest. What lies there of another model
    is removed. Thread-safe. Raises OSError.
    """

    def __init__(self, folder: Path, digest: str, sizes: Mapping[str, int]) -> None:
        self.files = folder / _FILES
        self._folder, self._digest, self._sizes = folder, digest, sizes
        self._turn = threading.Lock()
        self._known = _read(folder / _JOURNAL, digest, sizes) if _is_plain(folder) else {}
        if not self._known:
            remove(folder)
        for path in sizes:
            (self.files / path).parent.mkdir(parents=True, exist_ok=True)
        self._write_journal()

    def present(self, path: str) -> tuple[Span, ...]:
        """What lies there of a file, in order."""
        return merged(self._known[path].spans) if path in self._known else ()

    def tag(self, path: str) -> str:
        """The ETag of the object that it is of; empty where nothing lies there."""
        return self._known[path].tag if path in self._known else ""

    def present_bytes(self) -> int:
        """Of all files."""
        return sum(span.size for path in self._known for span in self.present(path))

    def missing_bytes(self) -> int:
        return sum(self._sizes.values()) - self.present_bytes()

    def open(self, path: str) -> int:
        """A descriptor to read and write a file by; the caller closes it."""
        return os.open(self.files / path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def note(self, path: str, span: Span, tag: str) -> None:
        """A span is whole; it lies in the file already."""
        with self._turn:
            known = self._known.setdefault(path, _Known(tag))
            known.spans.append(span)
            with (self._folder / _JOURNAL).open("ab") as journal:
                journal.write(_line({"path": path, "tag": tag, "spans": [[span.begin, span.end]]}))

    def forget(self, path: str) -> None:
        """What lies there of a file is of no use."""
        with self._turn:
            self._known.pop(path, None)
            self._write_journal()

    def _write_journal(self) -> None:
        """Whole, also where an earlier one ends in half a line."""
        lines = [_line({"digest": self._digest})]
        for path, known in self._known.items():
            spans = [[span.begin, span.end] for span in merged(known.spans)]
            lines.append(_line({"path": path, "tag": known.tag, "spans": spans}))
        new = self._folder / f"{_JOURNAL}.new"
        new.write_bytes(b"".join(lines))
        new.replace(self._folder / _JOURNAL)


def remove(folder: Path) -> None:
    """All that lies there; nothing may."""
    shutil.rmtree(folder, ignore_errors=True)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _is_plain(folder: Path) -> bool:
    """Whether nothing in it leads elsewhere."""
    return folder.is_dir() and not any(path.is_symlink() for path in (folder, *folder.rglob("*")))


def _read(journal: Path, digest: str, sizes: Mapping[str, int]) -> dict[str, _Known]:
    """What it says of this model; nothing where it cannot be followed. A last line that is half written counts for
    nothing.
    """
    known: dict[str, _Known] = {}
    try:
        first, *lines = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
        if first != {"digest": digest}:
            return {}
        for line in lines:
            size, tag = sizes[line["path"]], line["tag"]
            of_file = known.setdefault(line["path"], _Known(tag))
            if of_file.tag == tag:
                of_file.spans += [Span(begin, end) for begin, end in line["spans"] if 0 <= begin < end <= size]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return known
