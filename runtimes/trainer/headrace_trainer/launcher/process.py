"""The script's process: started in a session of its own, its output passed on, its messages read, every orphan reaped.

Whoever owns the inbox gets ChildMessage for each message and ChildExited once. It decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headrace_trainer.launcher.log import log, unforeseen
from headrace_trainer.launcher.logtail import STDERR, STDOUT, LogTail
from headrace_trainer.launcher.messages import MAX_LINE, BadMessage, Message, parse_message


@dataclass(frozen=True)
class ChildMessage:
    """The child said something; `by_name`: through the pipe with a name, which is the script's own."""

    message: Message
    by_name: bool = False


@dataclass(frozen=True)
class ChildExited:
    """The child is gone; a negative code is a signal."""

    exit_code: int


Post = Callable[[ChildMessage | ChildExited], None]


class Child:
    """One run of the user's script. Make it with `start`; always end it with `close`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        tail: LogTail,
        readers: Sequence[threading.Thread],
        named_pipe: _NamedPipe,
    ) -> None:
        self._process = process
        self._tail = tail
        self._readers = readers
        self._named_pipe = named_pipe

    @staticmethod
    def start(command: Sequence[str], env: Mapping[str, str], cwd: Path, post: Post, named_pipe: Path) -> Child:
        """Start `command` with HEADRACE_CHILD_FD added to `env`; events go to `post`, from other threads. Messages are
        also read from `named_pipe`, which is made.

        Raises OSError where the command cannot be run.
        """
        receive, send = os.pipe()
        named = _NamedPipe(named_pipe)
        turn = _turns.take()
        try:
            process = subprocess.Popen(
                command,
                env={**env, "HEADRACE_CHILD_FD": str(send), "PYTHONUNBUFFERED": "1"},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[send],
                start_new_session=True,
            )
        except OSError:
            os.close(receive)
            raise
        finally:
            os.close(send)
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("the child has no output pipes")
        tail = LogTail()
        readers = [
            threading.Thread(target=_pass_on, args=(STDOUT, process.stdout, sys.stdout.buffer, tail), daemon=True),
            threading.Thread(target=_pass_on, args=(STDERR, process.stderr, sys.stderr.buffer, tail), daemon=True),
            threading.Thread(target=_read_messages, args=(receive, post), daemon=True),
            threading.Thread(target=named.read, args=(post,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=_reap, args=(process, post, turn), name="reaper", daemon=True).start()
        return Child(process, tail, readers, named)

    @property
    def log_tail(self) -> str:
        return self._tail.text()

    @property
    def log_by_stream(self) -> tuple[str, ...]:
        """The end of each stream, first of that which says the cause."""
        return self._tail.by_stream()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the script's process, not to what it started. Not by Popen, which would reap it here."""
        if self._process.returncode is None:
            os.kill(self._process.pid, number)

    @property
    def has_session(self) -> bool:
        """Whether the script, or something that it has started, has not ended yet."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self, timeout: float = 2.0) -> None:
        """End whatever is left of the session and read what it still had to say."""
        with contextlib.suppress(ProcessLookupError):  # nothing was left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._named_pipe.end()
        for reader in self._readers:
            reader.join(timeout)


class _Turns:
    """Children come one after the other, each with a thread that reaps. The one of an earlier child leaves what ends to
    that of a later one, which alone knows whose end it is.
    """

    def __init__(self) -> None:
        self._latest = 0

    def take(self) -> int:
        """Before the child is there: no end of it is then an earlier one's."""
        self._latest += 1
        return self._latest

    def is_over(self, turn: int) -> bool:
        return turn != self._latest


_turns = _Turns()


def _reap(process: subprocess.Popen[bytes], post: Post, turn: int) -> None:
    """As PID 1 every orphan of the pod is ours. Looked at first (WNOWAIT), so that the exit code of the child is
    known. A process that another thread has started may be gone by then: that thread waited for it, too.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # none is left
            return
        if ended is None:
            continue
        if process.returncode is not None and _turns.is_over(turn):
            return
        try:
            _, status = os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            continue
        if ended.si_pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            post(ChildExited(process.returncode))


def _pass_on(name: str, source: BinaryIO, sink: BinaryIO, tail: LogTail) -> None:
    with source:
        while data := os.read(source.fileno(), 65536):
            tail.feed(name, data)
            sink.write(data)
            sink.flush()


class _NamedPipe:
    """A pipe in the file system, for whatever the script starts. It has no end of its own, since those who write to it
    come and go: its last line is one that nobody else knows.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        # For reading and writing: it neither waits for a writer nor ends with one.
        self._descriptor = os.open(path, os.O_RDWR)
        self._end = secrets.token_hex(16).encode()

    def read(self, post: Post) -> None:
        _read_messages(os.dup(self._descriptor), post, self._end)

    def end(self) -> None:
        """Nobody is left who writes to it."""
        os.write(self._descriptor, b"\n" + self._end + b"\n")


def _read_messages(descriptor: int, post: Post, end: bytes | None = None) -> None:
    with os.fdopen(descriptor, "rb") as pipe:
        while line := pipe.readline(MAX_LINE):
            text = line.strip()
            if text == end:
                return
            if not text:
                continue
            try:
                message = parse_message(line)
            except BadMessage as error:
                log(f"a message of the script's process was not understood and is left out: {error}")
            except Exception as error:  # noqa: BLE001 - whatever a script says costs its message, and no training
                log(f"a message of the script's process is left out: {unforeseen(error)}")
            else:
                post(ChildMessage(message, by_name=end is not None))
