"""Running commands to their end: short ones, and long ones that say now and then how far they are."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report, Stopwatch

_TIMEOUT = 60.0
_SHOWN_LINES = 30


def run(command: Sequence[str | Path], *, stdin: str | None = None, timeout: float = _TIMEOUT) -> str:
    """The command's stdout; raises LocalClusterError with its stderr."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=timeout, env={**os.environ, "PATH": _path()}
        )
    except subprocess.TimeoutExpired:
        raise LocalClusterError(f"`{' '.join(words)}` was not done after {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LocalClusterError(f"`{' '.join(words)}` failed ({done.returncode}): {said}")
    return done.stdout


def _path() -> str:
    """The search path, with the folders of administrators' programs, which some of them do not have in theirs."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def end_as_interrupted_on_sigterm() -> None:
    """What is terminated has to clean up as what is interrupted does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def run_long(
    command: Sequence[str | Path],
    *,
    what: str,
    timeout: float,
    report: Report,
    describe: Callable[[list[str]], str],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a command that writes its progress to stderr, line by line; `describe` makes the report of these lines.

    Raises LocalClusterError with the last lines. When this call is interrupted the command and its children are ended.
    """
    watch = Stopwatch()
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=_read, args=(process.stderr, lines), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if watch.is_due():
                    report(f"  {what}: {watch.seconds:.0f} s, {describe(lines)}")
                if watch.seconds > timeout:
                    raise LocalClusterError(f"{what} was not done after {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=10)
        process.stderr.close()
    if process.returncode != 0:
        raise LocalClusterError(f"{what} failed ({process.returncode}):\n" + "\n".join(lines[-_SHOWN_LINES:]))


def _read(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
