"""Runs a command of tests, bounded in time, and leaves nothing of it running: `python tests/run.py MINUTES COMMAND...`.

A test's servers have sessions of their own, so that Ctrl-C does not take them away in the middle of a test; what ends
them is the fixture that started them. Where pytest is interrupted, or its time is over, no fixture may get that far:
then every process that carries this run's mark in its environment is ended, and the end-to-end tests' cluster taken
down. HEADRACE_E2E_KEEP=1 keeps a cluster here, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType

MARK = "HEADRACE_TEST_RUN"
CLUSTER_MARK = b"HEADRACE_LOCAL="  # of a process of a local cluster: it has a command of its own that ends it
# How long pytest has for its summary once it was interrupted.
SUMMARY_SECONDS = 120.0
TERM_SECONDS = 5.0
OVER = 124  # as timeout(1) ends


class Interrupted(BaseException):
    """By a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(minutes: float, command: list[str]) -> int:
    """The command's exit status; 124 where its time was over, 128 + N where signal N ended it."""
    run = uuid.uuid4().hex
    # In the background of a shell SIGINT is ignored, by what is started here, too: it would not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env={**os.environ, MARK: run}, start_new_session=True)
    _when_interrupted(_interrupt)
    try:
        status = process.wait(minutes * 60)
    except Interrupted as interrupted:
        status = 128 + interrupted.number
        _stop(process, run)
    except subprocess.TimeoutExpired:
        print(f"\n== the tests' {minutes:g} minutes are over: they are interrupted", file=sys.stderr, flush=True)
        status = OVER
        _stop(process, run)
    take_cluster_down(run)
    if ended := end_all(run):
        print(f"== ended {ended} processes that the tests had left running", file=sys.stderr, flush=True)
    return status if status >= 0 else 128 - status


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def _when_interrupted(do: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, do)


def _stop(process: subprocess.Popen[bytes], run: str) -> None:
    """Lets it end by itself, for its summary, and no longer than that."""
    _when_interrupted(signal.SIG_IGN)  # what is left is cleaning up
    process.send_signal(signal.SIGINT)
    try:
        process.wait(SUMMARY_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def take_cluster_down(run: str) -> None:
    """The end-to-end tests' one, if this run has started it."""
    if os.environ.get("HEADRACE_E2E_KEEP") == "1" or not any(is_cluster for _, is_cluster in processes(run)):
        return
    name = os.environ.get("HEADRACE_E2E_NAME", "e2e")
    subprocess.run([sys.executable, "-m", "headrace_local", "down", "--name", name], check=False)


def end_all(run: str) -> int:
    """Ends what is left of a run, but for clusters; returns how many processes that were."""
    ended: set[int] = set()
    began = time.monotonic()
    while left := [pid for pid, is_cluster in processes(run) if not is_cluster]:
        hard = time.monotonic() - began > TERM_SECONDS
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
            except ProcessLookupError:
                continue
            ended.add(pid)
        time.sleep(0.2)
    return len(ended)


def processes(run: str) -> list[tuple[int, bool]]:
    """Those that carry the run's mark, and whether each is of a local cluster."""
    mark = f"{MARK}={run}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")  # empty of a process that has ended
        except OSError:
            continue
        if mark in variables:
            found.append((int(entry.name), any(variable.startswith(CLUSTER_MARK) for variable in variables)))
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
