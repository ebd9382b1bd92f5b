"""What trials have logged of the objective so far, as their runs in MLflow have it: by that they are stopped early.

MLflow may be away: then nothing new is known, and none is stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from headrace_common.protocol.trials import Trial, TrialState
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.tracking.mlflow import MLflow, Refused, Rejected, Unavailable
from headrace_trainer.tuning.history import History

T = TypeVar("T")

_PAUSE = 3.0
_PAGE = 1000


@dataclass
class _Reader:
    """How far a run was read: the page that is not full yet, and how much of that is known."""

    history: History = field(default_factory=History)
    token: str = ""
    known: int = 0
    last: int | None = None

    def take(self, points: Sequence[tuple[int, float]], following: str) -> None:
        """A page, from its beginning."""
        for step, value in points[self.known :]:
            # A trial that goes on from a checkpoint logs some steps again.
            if self.last is None or step >= self.last:
                self.history.add(value)
                self.last = step
        self.known = len(points)
        if following:
            self.token, self.known = following, 0


class Reports:
    """Those of one job's trials. A thread of its own reads them: of those that run again and again what is new, of
    others what is left.
    """

    def __init__(self, client: MLflow, metric: str) -> None:
        self._client = client
        self._metric = metric
        self._lock = threading.Lock()
        self._asked: dict[str, TrialState] = {}
        self._complete: set[str] = set()
        self._readers: dict[str, _Reader] = {}
        threading.Thread(target=self._work, name="reports", daemon=True).start()

    def take(self, trials: Iterable[Trial]) -> None:
        """The trials that there are now."""
        with self._lock:
            self._asked = {trial.run: trial.state for trial in trials if trial.run}

    def compared(self, compare: Callable[[Mapping[str, History]], T]) -> T:
        """What comes of what each run has reported, which changes meanwhile for nobody."""
        with self._lock:
            return compare({run: reader.history for run, reader in self._readers.items()})

    def _work(self) -> None:
        while True:
            with self._lock:
                due = {run: state for run, state in self._asked.items() if run not in self._complete}
            for run, state in due.items():
                self._read(run, state)
            time.sleep(_PAUSE)

    def _read(self, run: str, state: TrialState) -> None:
        reader = self._readers.get(run, _Reader())
        following = "first"
        while following:
            try:
                points, following = self._client.history_page(run, self._metric, reader.token, _PAGE)
            except Unavailable:
                return
            except (Refused, Rejected) as error:
                log(f"what run {run} has reported cannot be read, and its trial is not stopped: {error}")
                reader, points, following = _Reader(), [], ""
                state = TrialState.FAILED
            with self._lock:
                self._readers[run] = reader
                reader.take(points, following)
        if state is not TrialState.RUNNING:
            with self._lock:
                self._complete.add(run)
