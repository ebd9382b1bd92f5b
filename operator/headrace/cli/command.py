"""What a sub-command is, and where commands come from.

Packages add commands through the entry-point group `headrace.commands`: each entry names a Command, or a class that
makes one without arguments.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Protocol

from headrace.cli.errors import CommandError

GROUP = "headrace.commands"


class Command(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str: ...

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code. Expected failures are raised as CommandError."""


@dataclass(frozen=True)
class Broken:
    """Stands in for a command whose package cannot be imported, so that the others still work."""

    name: str
    reason: str
    help: str = "(its package cannot be loaded)"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        # Whatever the command's own flags are, they are no usage errors.
        parser.prefix_chars = ""
        parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)

    def run(self, args: argparse.Namespace) -> int:
        raise CommandError(f"{self.reason}: install its package again, or remove it")


def load(entries: Iterable[EntryPoint]) -> list[Command]:
    """The commands of these entry points, by name."""
    return [_load(entry) for entry in sorted(entries, key=lambda entry: entry.name)]


def _load(entry: EntryPoint) -> Command:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        return Broken(entry.name, f"command {entry.name} ({entry.value}) cannot be loaded: {error}")
    command: Command = found() if isinstance(found, type) else found
    return command
