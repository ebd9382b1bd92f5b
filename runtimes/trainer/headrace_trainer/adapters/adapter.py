"""What an adapter does for the scripts of its framework. All else is common to them: the messages, the checkpoints and
the script's files in them, which model is meant, the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.adapters.script import Ending
from headrace_trainer.adapters.session import Session


@dataclass(frozen=True)
class Adapter:
    """hooks    what is called after which module's import: from there on the script is followed
    large    the modules whose objects the garbage collector leaves alone: none of the framework's models exists before
             the last of them has been imported
    gang     what the script of a worker with peers runs in
    mirror   what the script of one worker with several devices runs in, which train in step
    export   makes the formats that are asked for of the model that is meant, in a folder
    """

    hooks: Callable[[Session], Mapping[str, Callable[[], None]]]
    large: frozenset[str]
    gang: Callable[[Session], AbstractContextManager[object]]
    mirror: Callable[[Session], AbstractContextManager[object]]
    export: Callable[[Session, Ending, Path], None]
