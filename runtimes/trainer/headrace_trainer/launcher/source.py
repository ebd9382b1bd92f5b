"""The user's own files: which they are, and whether the one that is run is among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headrace_common.protocol.config import Config
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import Failed, Failure

_NAMED = 20


def source_files(folder: Path) -> Iterator[Path]:
    """A ConfigMap's files are links to those of a hidden folder beside them."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(("..", ".git", "__pycache__")) for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def check_entrypoint(config: Config) -> None:
    """Raises Failed (EntrypointNotFound) with the files that there are. Where tables are all, there is none to run."""
    if not config.entrypoint:
        return
    path = config.source / config.entrypoint
    inside = path.resolve().is_relative_to(config.source.resolve()) or ".." not in path.parts
    if inside and path.is_file():
        return
    files = (
        sorted(p.name for p in config.source.iterdir() if not p.name.startswith("."))[:_NAMED]
        if config.source.is_dir()
        else []
    )
    has = f"it has {', '.join(files)}" if files else "it has no files"
    raise Failed(
        Failure(
            Reason.ENTRYPOINT_NOT_FOUND,
            f"{config.entrypoint} is not in the source: {has}",
            "Correct spec.entrypoint, or the keys of the ConfigMap in spec.source.",
        )
    )
