"""A script's process as the launcher starts it, its messages read from a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forking import Forked, Interpreter

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
ADAPTER = "headrace_trainer.adapters.keras"
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
        module: str = ADAPTER,
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
                    [sys.executable, "-m", module, *whole],
                    env=environment,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[send],
                    start_new_session=True,
                )
            else:
                self._process = interpreter.start(
                    module, whole, environment, directory, stdout.fileno(), stderr.fileno(), send
                )
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

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> int:
        """The exit code, when all messages have been read."""
        code = self._process.wait(seconds)
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
