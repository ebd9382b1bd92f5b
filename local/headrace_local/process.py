"""One process of ours: in a group of its own, its output in a file, ended by its id and by no name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_KILL_TIMEOUT = 10.0


class Process:
    """Started when made; ends with the thread that started it, so that a killed test run leaves nothing behind."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*tied, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def interrupt(self, seconds: float) -> None:
        """Ask it to end, as Ctrl-C does; killed when it has not after so long."""
        self._signal(signal.SIGINT)
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait(timeout=_KILL_TIMEOUT)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running():
            os.killpg(self._process.pid, number)
