"""Runs scripts as the launcher does: `python -m headrace_trainer.adapters.keras` in a process of its own, its messages
read as they come. `start_child` starts an interpreter; `start_keras` forks one that has imported Keras (forking.py) and
keeps the script in step with its test, unless it is one of several workers, which wait for each other.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forking import Interpreter
from script_process import RunningChild

SCRIPTS = Path(__file__).resolve().parent / "scripts"

StartChild = Callable[..., RunningChild]


def _starts(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter | None) -> Iterator[StartChild]:
    """Starts children, each in a directory of its own, and ends those that a failed test leaves behind."""
    children: list[RunningChild] = []

    def start(script: str | Path, *arguments: str, **settings: object) -> RunningChild:
        path = SCRIPTS / script if isinstance(script, str) else script
        environment = {
            f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items() if name != "tf_config"
        }
        if "tf_config" in settings:
            environment["TF_CONFIG"] = str(settings["tf_config"])
        folder = tmp_path_factory.mktemp("child")
        in_step = interpreter is not None and "TF_CONFIG" not in environment
        child = RunningChild(path, arguments, folder, environment, interpreter, in_step=in_step)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()


@pytest.fixture(scope="module")
def start_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartChild]:
    yield from _starts(tmp_path_factory, None)


@pytest.fixture(scope="module")
def start_keras(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> Iterator[StartChild]:
    yield from _starts(tmp_path_factory, interpreter)


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """So many ports that nobody listens on."""

    def find(count: int) -> list[int]:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [listener.getsockname()[1] for listener in sockets]
        for listener in sockets:
            listener.close()
        return ports

    return find
