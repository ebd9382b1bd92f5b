"""An interpreter that has imported what a program needs once, and forks for each time that it is to be run.

An import of TensorFlow and Keras takes ten seconds of computing, which a script of a test seldom takes itself; what the
launcher imports takes longer than most of what it does in a test. A fork of a process that has imported modules and
computed nothing yet is like one that has just imported them. What depends on the import itself (its order, its absence,
the seed of string hashes) needs an interpreter of its own: see `start_child`.

Usage: `python forking.py DESCRIPTOR DESCRIPTOR MODULE...`, two sockets of whole messages: one that is closed when the
interpreter is to end, and one with a name, for who knows it (forked_keras.py). Each message is a JSON object (module,
arguments, environment and directory) with three descriptors: stdout, stderr, a pipe that is told the process id and,
when it has ended, its wait status, a line each; and for a script that follows one more, the pipe of messages. Where
nobody reads the pipe that is told, the program is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
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
_RUN_SECONDS = 240.0
_HASH_SEED = "PYTHONHASHSEED"

# Keras, and with it TensorFlow; what follows a script; and what exports its model, without ONNX Runtime: its import
# makes a thread, and a fork, which lacks that, is aborted.
KERAS = (
    "keras",
    "headrace_trainer.adapters.main",
    "headrace_trainer.adapters.keras.adapter",
    "headrace_trainer.adapters.keras.hooks",
    "headrace_trainer.adapters.keras.devices.gpus",
    "headrace_trainer.adapters.keras.export.export",
    "headrace_trainer.adapters.keras.export.onnx",
)
LAUNCHER = ("headrace_trainer.launcher.main", "boto3")


class Forked:
    """A program's process, with what is used of subprocess.Popen."""

    def __init__(self, report: int) -> None:
        self._report = os.fdopen(report, "r", encoding="ascii")
        self.pid = int(self._report.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("the program", timeout or 0)
            with self._report:
                self.returncode = os.waitstatus_to_exitcode(int(self._report.readline()))
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """To a process that has ended nothing is sent."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Interpreter:
    """The process that forks; `close` ends it. It imports `modules`; they and what it runs are found in `packages`.

    With a seed of string hashes, which are fixed when an interpreter starts, all that it runs are told of it.
    """

    def __init__(self, packages: Sequence[Path], modules: Sequence[str] = KERAS, hash_seed: str = "5") -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self.address = f"{self._folder.name}/socket"
        named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        named.bind(self.address)
        with theirs, named:
            own = {"PYTHONPATH": os.pathsep.join(map(str, packages)), "TF_CPP_MIN_LOG_LEVEL": "3"}
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), str(named.fileno()), *modules],
                env={**os.environ, **own, **({_HASH_SEED: hash_seed} if hash_seed else {})},
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
        messages: int | None = None,
    ) -> Forked:
        """Runs `python -m module` with the arguments; `messages` becomes its HEADRACE_CHILD_FD."""
        receive, send = os.pipe()
        asked = request(module, arguments, environment, directory)
        descriptors = [stdout, stderr, send, *([] if messages is None else [messages])]
        socket.send_fds(self._socket, [asked], descriptors)
        os.close(send)
        return Forked(receive)

    def run(
        self,
        script: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
        *,
        packages: Sequence[Path] = (),
        seconds: float = _RUN_SECONDS,
    ) -> str:
        """What a script prints that nothing follows, and that has to end with 0, in that time. It finds packages where
        the interpreter does, and in these folders.
        """
        variables = {**environment, "PYTHONPATH": os.pathsep.join(map(str, [script.parent, *packages]))}
        with tempfile.TemporaryFile("w+") as output:
            streams = output.fileno(), output.fileno()
            code = self.start(script.stem, arguments, variables, script.parent, *streams).wait(seconds)
            output.seek(0)
            printed = output.read()
        assert code == 0, printed[-3000:]
        return printed

    def close(self) -> None:
        """It may be closed already."""
        self._socket.close()
        self._process.wait(60)
        self._folder.cleanup()


@functools.cache
def interpreter_of_keras() -> Interpreter:
    return Interpreter([Path(__file__).resolve().parents[1]])


def request(module: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> bytes:
    """What the interpreter is asked, without the descriptors."""
    asked = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
    return json.dumps({**asked, "directory": str(directory)}).encode()


def _serve(own: socket.socket, named: socket.socket) -> str:
    """Returns in the process of a program only, with the module to run."""
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
    """Starts the program and tells how it ends; returns in the program's process only."""
    stdout, stderr, report, *messages = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process:
        for descriptor in (stdout, stderr, *messages):
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(report, f"{process}\n".encode())
        _kill_when_nobody_reads(report, process)
        # It is told before the process is gone, so that one of which nothing is told yet is there.
        ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        status = ended.si_status << 8 if ended.si_code == os.CLD_EXITED else ended.si_status
        with contextlib.suppress(BrokenPipeError):
            os.write(report, f"{status}\n".encode())
        os.waitpid(process, 0)
        os._exit(0)
    os.close(report)
    os.setsid()
    for descriptor, standard in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(asked["directory"])
    own = {_HASH_SEED: os.environ[_HASH_SEED]} if _HASH_SEED in os.environ else {}
    os.environ.clear()
    os.environ.update(asked["environment"], **own)
    for descriptor in messages:
        os.environ["HEADRACE_CHILD_FD"] = str(descriptor)
    sys.argv[1:] = asked["arguments"]
    sys.path.append(sys.path[0])  # this file's folder, which has programs and what keeps a script in step
    sys.path[0] = asked["directory"]
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


class _End:
    """The end of a program, with all that an interpreter's has but the last: that takes the thousands of modules apart,
    a quarter of what a short training computes.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)  # the first to be registered is the last to be called

    def run(self, module: str) -> None:
        """As `python -m module`."""
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            self._code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
            raise
        self._code = 0

    def _leave(self) -> None:
        if self._code is not None:  # else an exception has ended it, or a signal
            with contextlib.suppress(OSError, ValueError):  # an interpreter has a code of its own for that
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(self._code & 0xFF)


if __name__ == "__main__":
    end = _End()
    gc.disable()
    for imported in sys.argv[3:]:
        importlib.import_module(imported)
    gc.freeze()
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as own_requests, socket.socket(fileno=int(sys.argv[2])) as others:
        wanted = _serve(own_requests, others)
    if os.environ.pop("KEPT_IN_STEP", ""):
        import in_step

        in_step.keep()
    end.run(wanted)
