"""Any program: it is run as it is, and says by itself (runtimes/client) what is to be known of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from headrace_trainer.launcher.config import Workers
from headrace_trainer.launcher.frameworks.kind import Framework

_INTERPRETERS = {".py": sys.executable, ".sh": "/bin/sh"}


def _command(adapter: str, script: Path) -> Sequence[str]:
    """A ConfigMap's files cannot be executed: for the usual suffixes the interpreter is known."""
    interpreter = _INTERPRETERS.get(script.suffix)
    return [str(script)] if interpreter is None else [interpreter, str(script)]


def _rendezvous(workers: Workers, index: int) -> dict[str, str]:
    return {}


SCRIPT = Framework(
    name="Script",
    command=_command,
    has_pipe=True,
    must_train=False,
    how_to_hand_over="the script handed none over: headrace_client.export(path, format=…)",
    rendezvous=_rendezvous,
)
