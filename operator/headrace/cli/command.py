"""What a sub-command is, and where commands come from.

Packages add commands through the entry-point group `headrace.commands`: each entry names a Command, or a class that
makes one without arguments.
"""

import argparse
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Protocol

from headrace.cli.errors import CommandError

GROUP = "headrace.commands"


class Command(Protocol):
    name: str
    help: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code. Expected failures are raised as CommandError."""


def load(entries: Iterable[EntryPoint]) -> list[Command]:
    """The commands of these entry points, by name. Raises CommandError for one that cannot be imported."""
    return [_load(entry) for entry in sorted(entries, key=lambda entry: entry.name)]


def _load(entry: EntryPoint) -> Command:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise CommandError(
            f"command {entry.name} ({entry.value}) cannot be loaded: {error}: install its package again, or remove it"
        ) from error
    command: Command = found() if isinstance(found, type) else found
    return command
