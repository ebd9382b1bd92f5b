"""Two trainings that take turns on the same cores, so that what disturbs the machine disturbs both alike.

A shared machine's clock drifts by ten per cent within a minute, which is more than what is to be measured. Turns are
short: while one of the two computes, the other is stopped (SIGSTOP), and all that it has started with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pod

STARTED_SECONDS = 300.0


@dataclass
class Runner:
    """A training. `mark` is the file that its script makes where the part begins that is compared; `each_turn` is
    called once in each turn of its own. `turns` are those that it had, in seconds of the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    mark: Path
    each_turn: Callable[[], None] = lambda: None
    turns: list[tuple[float, float]] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes."""
        for pid in pod.family(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def seconds_within(self, begin: float, end: float) -> float:
        """How much of the time from `begin` to `end` was its turn."""
        return sum(max(0.0, min(end, stop) - max(begin, start)) for start, stop in self.turns)


def take_turns(first: Runner, second: Runner, seconds: float) -> None:
    """Runs both to their ends: side by side until each has come to its mark, then a turn of so many seconds each."""
    runners = (first, second)
    try:
        _meet(runners)
        while any(runner.runs for runner in runners):
            for runner in runners:
                if runner.runs:
                    _turn(runner, seconds)
    finally:
        for runner in runners:
            if runner.runs:  # the bench itself was ended
                runner.signal(signal.SIGKILL)


def _meet(runners: tuple[Runner, ...]) -> None:
    """Who has come to its mark is stopped until the other has, too."""
    until = time.monotonic() + STARTED_SECONDS
    waiting = list(runners)
    while waiting:
        for runner in [runner for runner in waiting if runner.mark.exists()]:
            began = float(runner.mark.read_text() or time.monotonic())
            runner.signal(signal.SIGSTOP)
            runner.turns.append((began, time.monotonic()))
            waiting.remove(runner)
        if not all(runner.runs for runner in waiting) or time.monotonic() > until:
            raise SystemExit("a training has not come to its `fit`")
        time.sleep(0.01)


def _turn(runner: Runner, seconds: float) -> None:
    began = time.monotonic()
    runner.signal(signal.SIGCONT)
    runner.each_turn()
    with suppress(subprocess.TimeoutExpired):
        runner.process.wait(max(0.0, began + seconds - time.monotonic()))
    runner.signal(signal.SIGSTOP)
    runner.turns.append((began, time.monotonic()))
