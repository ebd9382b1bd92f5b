"""A script's process as the launcher starts it, its messages read as they come.

One that is kept in step (in_step.py) goes on with each message only when its test wants it to, and with a checkpoint
only when that is written: where it is killed does not depend on how fast the machine is.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from forking import Forked, Interpreter
from in_step import ACKNOWLEDGED

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
ADAPTER = "headrace_trainer.adapters.keras"
TIMEOUT_SECONDS = 600

Message = dict[str, Any]


def _nothing(messages: list[Message]) -> bool:
    """Nobody waits yet: the first message holds."""
    return True


class RunningChild:
    """One child process; `messages` grows while it runs. Without an interpreter to fork it gets one of its own.

    Kept in step, it stays at its first message until somebody waits: `wait_until` holds it at the message that it waits
    for, `wait` and a signal let it go on.
    """

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        directory: Path,
        settings: dict[str, str],
        interpreter: Interpreter | None,
        module: str = ADAPTER,
        *,
        in_step: bool = False,
    ) -> None:
        assert interpreter is not None or not in_step, "only what forking.py runs can be kept in step"
        directory.mkdir(parents=True, exist_ok=True)
        self._channel, theirs = socket.socketpair()
        send = theirs.fileno()
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE_ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "HEADRACE_CHILD_FD": str(send),
            "KEPT_IN_STEP": "yes" if in_step else "",
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
        theirs.close()
        self._directory, self._has_ended = directory, False
        self._in_step, self._awaited = in_step, _nothing
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._channel, self._channel.makefile("rb") as lines, suppress(ConnectionError):
            for line in lines:
                with self._changed:
                    self.messages.append(json.loads(line))
                    self._changed.notify_all()
                    if self._in_step:
                        self._changed.wait_for(lambda: not self._awaited(self.messages))
                        self._channel.send(ACKNOWLEDGED)
        with self._changed:
            self._changed.notify_all()

    def _await(self, condition: Callable[[list[Message]], bool]) -> None:
        with self._changed:
            self._awaited = condition
            self._changed.notify_all()

    def go_on(self) -> None:
        """Is not held at any message from here on."""
        self._await(lambda _: False)

    def wait_until(self, condition: Callable[[list[Message]], bool]) -> None:
        """Waits for messages; fails when the child ends before."""
        self._await(condition)
        with self._changed:
            happened = self._changed.wait_for(
                lambda: condition(self.messages) or not self._reader.is_alive(), TIMEOUT_SECONDS
            )
            assert happened, "no such message in time"
            assert condition(self.messages), f"the child ended before: {self.stderr[-3000:]}"

    def wait_for_output(self, text: str) -> None:
        """Waits until the script has printed it; goes on at messages meanwhile."""
        self.go_on()
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in self.stdout:
            assert self._reader.is_alive(), f"the child ended before: {self.stderr[-3000:]}"
            assert time.monotonic() < deadline, f"it did not print {text!r} in time"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self.go_on()

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> int:
        """The exit code, when all messages have been read."""
        self.go_on()
        code = self._process.wait(seconds)
        self._has_ended = True
        self._reader.join(TIMEOUT_SECONDS)
        return code

    def close(self) -> None:
        if not self._has_ended:
            with suppress(ProcessLookupError):  # it has ended, and nobody has waited for it
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
