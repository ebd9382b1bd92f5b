"""How far the asking is, in the launcher's terms of a training: one epoch, of as many steps as there are rows to ask
about.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace_trainer.adapters.messages import Messages, milliseconds

_EVERY_SECONDS = 1.0


class Progress:
    """Of all models together."""

    def __init__(self, messages: Messages, rows: int, models: int) -> None:
        self._messages = messages
        self._rows = rows
        self._asked = 0
        self._told_at = 0.0
        messages.send("fit", fit=0, epochs=1, stepsPerEpoch=rows * models, steps=rows * models)

    def of_model(self) -> Callable[[int], None]:
        """What the next model is to be called with: how many rows it has answered."""
        before = self._asked * self._rows
        self._asked += 1

        def told(rows: int) -> None:
            if time.monotonic() - self._told_at < _EVERY_SECONDS and rows < self._rows:
                return
            self._told_at = time.monotonic()
            self._messages.send("progress", fit=0, epoch=0, step=before + rows, time=milliseconds(), metrics={})

        return told
