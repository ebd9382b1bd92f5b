"""A page of docs/ that a table's command writes; with `--check` the command only says whether it is stale."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, command: str) -> int:
    """The command's exit status: 1 where the page is stale."""
    if "--check" not in sys.argv[1:]:
        page.write_text(text)
        return 0
    is_stale = not page.is_file() or page.read_text() != text
    if is_stale:
        print(f"{page.name} is stale: run {command}", file=sys.stderr)
    return int(is_stale)
