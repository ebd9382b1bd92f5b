"""SIGTERM: a checkpoint of where the training is, and the end of the process with exit code 75 within about a second.

A signal handler cannot save: it may run between an optimizer step and the count of it. It raises a flag that the
training looks at after each step; where no step comes in time (a long validation, a slow step, data that has to be
waited for), the process ends with the last checkpoint that it has in memory, or has written by then.

All of this is the script's own process's. One that it forks (a worker of multiprocessing) has no thread that writes,
and nothing to save: there SIGTERM does what it did before us.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

EXIT_CODE = 75
_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
# Of the time until the launcher kills the process: the rest is for writing what is in memory.
_PATIENCE = 1 / 3
# Who leaves alone ends the others without a checkpoint: they may be in a validation that has to be compiled.
_PATIENCE_WITH_PEERS = 11 / 15


class Stop:
    """Whether the process has been asked to stop, and the way it ends."""

    def __init__(self, finish: Callable[[], None], *, seconds: float, has_peers: bool = False) -> None:
        """`finish` writes and flushes whatever is under way. After `seconds` from the signal on the launcher ends the
        process by force.
        """
        self.patience = seconds * (_PATIENCE_WITH_PEERS if has_peers else _PATIENCE)
        self.is_requested = False
        self.is_leaving = False
        self.is_left_to_script = False  # it asks whether to stop, and ends by itself
        self._finish = finish
        self._training = False
        self._save: Callable[[], None] | None = None
        self._before: _Handler = signal.getsignal(signal.SIGTERM)
        os.register_at_fork(after_in_child=self._give_back)

    def install(self) -> None:
        """Takes SIGTERM; to be called again whenever a library may have taken it."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _give_back(self) -> None:
        """In a forked process; a handler that the script has set meanwhile stays."""
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._before)

    def training_begins(self, save: Callable[[], None]) -> None:
        """From here on the training looks at `is_requested`. `save` hands over what is in memory only; it is called
        in any thread.
        """
        self._save = save
        self._training = True

    def training_ends(self) -> None:
        """Outside of a fit nothing is lost by an end at once."""
        self._training = False
        self._save = None
        self.exit_if_asked()

    def exit_if_asked(self) -> None:
        """Between two steps, and where nothing is trained."""
        if self.is_requested and not self.is_left_to_script:
            self.exit_now()

    def exit_now(self) -> None:
        """Ends the process; no code of the script runs any more."""
        self.is_leaving = True
        save = self._save
        if save is not None:
            save()
        self._finish()
        os._exit(EXIT_CODE)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if self.is_left_to_script:
            return
        if not self._training:
            self.exit_now()
        deadline = threading.Timer(self.patience, self.exit_now)
        deadline.daemon = True
        deadline.start()
