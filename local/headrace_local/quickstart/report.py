"""What a person sees: numbered phases, lines with the time that has passed, and at the end the seconds of each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headrace_local.errors import LocalClusterError
from headrace_local.progress import interval_seconds

POLL_SECONDS = 2.0
_REPEAT_SECONDS = 15.0


class CannotGetDoneError(LocalClusterError):
    """What is waited for will not come."""


@dataclass(frozen=True)
class Phase:
    """A phase that is over."""

    name: str
    seconds: float


@dataclass
class Report:
    """Prints, and keeps the phases."""

    phases: list[Phase] = field(default_factory=list)
    has_begun: bool = False
    _start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def say(self, text: str = "") -> None:
        print(f"  {text}" if text else "", flush=True)

    def __call__(self, text: str) -> None:
        """A line of progress."""
        print(f"  [{self.seconds:6.1f} s] {text.strip()}", flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        self.has_begun = True
        print(f"\n== {name}", flush=True)
        yield
        self.phases.append(Phase(name, round(time.monotonic() - begin, 1)))

    def wait(self, what: str, look: Callable[[], tuple[bool, str]], *, timeout: float, hint: str) -> None:
        """Look every two seconds until it is done; say what was seen whenever that changes, and now and then anyway.

        `look` returns whether it is done and a line for people, and raises CannotGetDoneError when it will never be.
        Another LocalClusterError means that it could not look: the next look may.
        """
        begin = said_at = time.monotonic()
        said = ""
        while True:
            try:
                done, line = look()
            except CannotGetDoneError:
                raise
            except LocalClusterError as error:
                done, line = False, str(error).strip().splitlines()[-1][-160:]
            now = time.monotonic()
            if line and (line != said or now - said_at > max(_REPEAT_SECONDS, interval_seconds())):
                self(line)
                said, said_at = line, now
            if done:
                return
            if now - begin > timeout:
                raise LocalClusterError(f"{what}: not done after {timeout:.0f} s (last seen: {line}). {hint}")
            time.sleep(POLL_SECONDS)

    def write(self, path: Path) -> None:
        """The phases as JSON, for bench/quickstart.py."""
        phases = [{"name": phase.name, "seconds": phase.seconds} for phase in self.phases]
        path.write_text(json.dumps({"seconds": round(self.seconds, 1), "phases": phases}, indent=2) + "\n")
