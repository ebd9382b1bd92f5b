"""The shape of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.launcher.config import Workers

Command = Callable[[str, Path], Sequence[str]]


@dataclass(frozen=True)
class Framework:
    """A framework, or the lack of one.

    command      the command line that runs a script, of the adapter's module and the script's path; parameters follow
    has_pipe     whether the script talks through the pipe with a name (runtimes/client), and not through its adapter
    must_train   whether a script that ended well and has trained nothing has failed
    how_to_hand_over   what its author does where an asked-for model did not come
    rendezvous   the environment by which the workers of a gang find one another, of the gang and a worker's index
    """

    name: str
    command: Command
    has_pipe: bool
    must_train: bool
    how_to_hand_over: str
    rendezvous: Callable[[Workers, int], dict[str, str]]
