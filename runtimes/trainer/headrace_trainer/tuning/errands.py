"""What is done beside the choosing, a run of a trial at a time, by a thread of its own: servers may be away, and only
the end waits for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from headrace_common.protocol.trials import Trial
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.tracking.mlflow import Unavailable

_PAUSE = 2.0


class Errands:
    """Those of one kind. `do` is called with the trial until it does not raise Unavailable; any other
    exception is logged, and ends its errand alone.
    """

    def __init__(self, name: str, do: Callable[[Trial], None]) -> None:
        self._do = do
        self._changed = threading.Condition()
        self._left: dict[str, Trial] = {}  # by run
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def add(self, trial: Trial) -> None:
        """Once more where it was done, or is being done, for another state of the trial."""
        with self._changed:
            self._left[trial.run] = trial
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Until nothing is left to be done; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._left, seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._left))
                run, trial = next(iter(self._left.items()))
            try:
                self._do(trial)
            except Unavailable:
                time.sleep(_PAUSE)
                continue
            except Exception as error:  # noqa: BLE001 - a thread that ends would leave all others undone, and nobody would know
                log(f"trial {trial.number}: {type(error).__name__}: {error}")
            with self._changed:
                if self._left.get(run) is trial:
                    del self._left[run]
                self._changed.notify_all()
