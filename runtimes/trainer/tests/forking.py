"""An interpreter that has imported TensorFlow and Keras once, and forks for each script that is to be run.

An import of the two takes ten seconds of computing, which a script of a test seldom takes itself. A fork of a process
that has imported them and computed nothing yet is like one that has just imported them. What depends on the import
itself (its order, its absence, the seed of string hashes) needs an interpreter of its own: see `start_child`.

Usage: `python forking.py DESCRIPTOR`, a socket of whole messages. Each is a JSON object (module, arguments, environment
and directory) with four descriptors: stdout, stderr, the pipe of messages, and a pipe that is told the process id and,
when it has ended, its wait status, a line each. The interpreter ends when the other side closes the socket.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_BYTES = 1 << 20


class Forked:
    """A script's process, with what is used of subprocess.Popen."""

    def __init__(self, report: int) -> None:
        self._report = os.fdopen(report, "r", encoding="ascii")
        self.pid = int(self._report.readline())
        self._code: int | None = None

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self._code is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("the script", timeout)
            self._code = os.waitstatus_to_exitcode(int(self._report.readline()))
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


class Interpreter:
    """The process that forks; `close` ends it. What it runs is found in `packages`."""

    def __init__(self, packages: Sequence[Path]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            path = os.pathsep.join(map(str, packages))
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "5", "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        directory: Path,
        stdout: int,
        stderr: int,
        messages: int,
    ) -> Forked:
        """Runs `python -m module` with the arguments; `messages` becomes its HEADRACE_CHILD_FD."""
        receive, send = os.pipe()
        request = {"module": module, "arguments": list(arguments), "environment": environment}
        request |= {"directory": str(directory)}
        socket.send_fds(self._socket, [json.dumps(request).encode()], [stdout, stderr, messages, send])
        os.close(send)
        return Forked(receive)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)


def _serve(requests: socket.socket) -> str:
    """Returns in the process of a script only, with the module to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, _BYTES, 4)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            return _keep(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(request: dict, descriptors: list[int]) -> str:
    """Starts the script and tells how it ends; returns in the script's process only."""
    stdout, stderr, messages, report = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process:
        for descriptor in (stdout, stderr, messages):
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(report, f"{process}\n".encode())
            os.write(report, f"{os.waitpid(process, 0)[1]}\n".encode())
        os._exit(0)
    os.close(report)
    os.setsid()
    for descriptor, standard in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"], HEADRACE_CHILD_FD=str(messages), PYTHONHASHSEED="5")
    sys.argv[1:] = request["arguments"]
    return str(request["module"])


if __name__ == "__main__":
    gc.disable()
    import keras  # noqa: F401 - and with it TensorFlow

    gc.freeze()
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as requests_of_tests:
        wanted = _serve(requests_of_tests)
    runpy.run_module(wanted, run_name="__main__")
