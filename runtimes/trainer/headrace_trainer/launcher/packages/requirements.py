"""The text of requirements files: what a user's says beside its requirements, and what uv says it would change (pure
but for reading the files that one includes).

Everything else of the format is uv's to understand, and to complain about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.launcher.packages.installed import canonical

_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<path>\S.*)")
_INDEX = re.compile(r"(?:-i|--index-url)(?=[\s=]|http)")
# Of requirements themselves, and what the pins would not pass: a file of one's own has no hash.
_NOT_PASSED_ON = ("-e", "--editable", "--require-hashes")
# uv takes it from the file's own folder, and these lines go to another file.
_FOLDER = re.compile(r"(?:-f|--find-links)(?:\s*=\s*|\s+)(?P<path>(?!\w+://|file:)\S.*)")
_ADDED = re.compile(r"^ [+~] (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:==(?P<version>\S+))?", re.MULTILINE)


@dataclass(frozen=True)
class Options:
    """The lines that say where and how to look for packages, such as --extra-index-url, as they were written."""

    lines: tuple[str, ...]

    @property
    def name_an_index(self) -> bool:
        return any(_INDEX.match(line) for line in self.lines)


def options_of(path: Path) -> Options:
    """Those of a requirements file and of the files that it includes."""
    return Options(tuple(_options(path, set())))


def added(said: str) -> dict[str, str]:
    """What `uv pip install --dry-run` would install, by what it has said: canonical names, and the version of each, or
    "" of a file or an address.
    """
    return {canonical(match["name"]): match["version"] or "" for match in _ADDED.finditer(said)}


def entries(lock: str) -> list[str]:
    """What a lock names, without the hashes, which are on lines of their own, indented."""
    lines = (line for line in lock.splitlines() if line.strip() and not line.startswith((" ", "\t", "#")))
    return [line.rstrip("\\ ") for line in lines]


def _options(path: Path, seen: set[Path]) -> Iterator[str]:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # uv says so
    for line in text.replace("\\\n", " ").splitlines():
        option = _COMMENT.sub("", line).strip()
        if include := _INCLUDE.fullmatch(option):
            yield from _options(path.parent / include["path"], seen)
        elif option.startswith("-") and not option.startswith(_NOT_PASSED_ON):
            yield _FOLDER.sub(lambda match: f"--find-links={path.parent.resolve() / match['path']}", option)
