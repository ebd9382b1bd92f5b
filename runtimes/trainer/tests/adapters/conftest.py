"""Runs scripts as the launcher does: `python -m headrace_trainer.adapters.keras` in a process of its own, its messages
read from a pipe. `start_child` starts an interpreter; `start_keras` forks one that has imported Keras (forking.py).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forking import Forked, Interpreter

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent / "scripts"
TIMEOUT_SECONDS = 600

Message = dict[str, Any]


class RunningChild:
    """One child process; `messages` grows while it runs. Without an interpreter to fork it gets one of its own."""

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        directory: Path,
        settings: dict[str, str],
        interpreter: Interpreter | None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        receive, send = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE_ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "HEADRACE_CHILD_FD": str(send),
            **settings,
        }
        self.messages: list[Message] = []
        self._changed = threading.Condition()
        with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
            whole = [str(script), *arguments]
            if interpreter is None:
                self._process: Forked | subprocess.Popen[bytes] = subprocess.Popen(
                    [sys.executable, "-m", "headrace_trainer.adapters.keras", *whole],
                    env=environment,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[send],
                    start_new_session=True,
                )
            else:
                self._process = interpreter.start(whole, environment, directory, stdout.fileno(), stderr.fileno(), send)
        os.close(send)
        self._directory, self._has_ended = directory, False
        self._reader = threading.Thread(target=self._read, args=(receive,), daemon=True)
        self._reader.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                with self._changed:
                    self.messages.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[list[Message]], bool]) -> None:
        """Waits for messages; fails when the child ends before."""
        with self._changed:
            happened = self._changed.wait_for(
                lambda: condition(self.messages) or not self._reader.is_alive(), TIMEOUT_SECONDS
            )
            assert happened, "no such message in time"
            assert condition(self.messages), f"the child ended before: {self.stderr[-3000:]}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, when all messages have been read."""
        code = self._process.wait(TIMEOUT_SECONDS)
        self._has_ended = True
        self._reader.join(TIMEOUT_SECONDS)
        return code

    def close(self) -> None:
        if not self._has_ended:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.wait()

    def of_type(self, *kinds: str) -> list[Message]:
        return [message for message in self.messages if message["type"] in kinds]

    @property
    def stdout(self) -> str:
        return (self._directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._directory / "stderr").read_text()


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
        child = RunningChild(path, arguments, tmp_path_factory.mktemp("child"), environment, interpreter)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()


@pytest.fixture(scope="module")
def start_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartChild]:
    yield from _starts(tmp_path_factory, None)


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    forks = Interpreter()
    yield forks
    forks.close()


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
