"""An interpreter that has imported TensorFlow and Keras once, and forks for each script that is to be run.

An import of the two takes ten seconds of computing, which a script of a test seldom takes itself. A fork of a process
that has imported them and computed nothing yet is like one that has just imported them. What depends on the import
itself (its order, its absence, the seed of string hashes) needs an interpreter of its own: see `start_child`.

Usage: `python forking.py DESCRIPTOR DESCRIPTOR`, two sockets of whole messages: one that is closed when the interpreter
is to end, and one with a name, for who knows it (forked_keras.py). Each message is a JSON object (module, arguments,
environment and directory) with four descriptors: stdout, stderr, the pipe of messages, and a pipe that is told the
process id and, when it has ended, its wait status, a line each. Where nobody reads that pipe any more, the script is
killed.
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
import tempfile
from collections.abc import Mapping, Sequence
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
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self.address = f"{self._folder.name}/socket"
        named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        named.bind(self.address)
        with theirs, named:
            path = os.pathsep.join(map(str, packages))
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), str(named.fileno())],
                env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "5", "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), named.fileno()],
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
        asked = request(module, arguments, environment, directory)
        socket.send_fds(self._socket, [asked], [stdout, stderr, messages, send])
        os.close(send)
        return Forked(receive)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)
        self._folder.cleanup()


def request(module: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> bytes:
    """What the interpreter is asked, without the descriptors."""
    asked = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
    return json.dumps({**asked, "directory": str(directory)}).encode()


def _serve(own: socket.socket, named: socket.socket) -> str:
    """Returns in the process of a script only, with the module to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        asking = own if own in select.select([own, named], [], [])[0] else named
        data, descriptors, _, _ = socket.recv_fds(asking, _BYTES, 4)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            own.close()
            named.close()
            return _keep(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(asked: dict, descriptors: list[int]) -> str:
    """Starts the script and tells how it ends; returns in the script's process only."""
    stdout, stderr, messages, report = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process:
        for descriptor in (stdout, stderr, messages):
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(report, f"{process}\n".encode())
        _kill_when_nobody_reads(report, process)
        with contextlib.suppress(BrokenPipeError):
            os.write(report, f"{os.waitpid(process, 0)[1]}\n".encode())
        os._exit(0)
    os.close(report)
    os.setsid()
    for descriptor, standard in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"], HEADRACE_CHILD_FD=str(messages), PYTHONHASHSEED="5")
    sys.argv[1:] = asked["arguments"]
    paths = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]
    return str(asked["module"])


def _kill_when_nobody_reads(report: int, process: int) -> None:
    """Returns when the process has ended."""
    waiting = select.poll()
    waiting.register(report, 0)  # an error is told without being asked for
    ended = os.pidfd_open(process)
    waiting.register(ended, select.POLLIN)
    if ended not in dict(waiting.poll()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            os.killpg(process, signal.SIGKILL)


if __name__ == "__main__":
    gc.disable()
    import keras  # noqa: F401 - and with it TensorFlow

    gc.freeze()
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as own_requests, socket.socket(fileno=int(sys.argv[2])) as others:
        wanted = _serve(own_requests, others)
    if os.environ.pop("KEPT_IN_STEP", ""):
        import in_step

        in_step.keep()
    runpy.run_module(wanted, run_name="__main__")
