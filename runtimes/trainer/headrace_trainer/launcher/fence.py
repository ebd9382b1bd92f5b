"""One attempt at a time writes the run: one that was cut off, on a node that nobody hears from, may still be training.

The run's tag says which attempt is there. An earlier one looks at it every few seconds before it writes; a later one,
once the tag is its own, first waits for longer than that, and takes from the run what has been logged until then. The
tag only grows: an earlier attempt that comes to its run late leaves it as it is.
"""

from __future__ import annotations

import time

from headrace_trainer.launcher.mlflow import MLflow, Run

ATTEMPT_TAG = "headrace.attempt"
_LOOK_SECONDS = 3.0
_WAIT_SECONDS = 2 * _LOOK_SECONDS


class Superseded(Exception):
    """A later attempt writes the run now."""


class Fence:
    """Between this attempt and the others; used by the one thread that writes."""

    def __init__(self, client: MLflow, attempt: int) -> None:
        self._client = client
        self._attempt = attempt
        self._looked_at = 0.0
        self._follows_another = False
        self._alone_from = 0.0

    def check(self, found: Run) -> None:
        """To be called before the tag is made this attempt's; `found` is the run as it is. Raises Superseded."""
        there = found.tags.get(ATTEMPT_TAG, "")
        if there.isdigit() and int(there) > self._attempt:
            raise Superseded(f"attempt {there} writes the run now: this one leaves it alone")
        # An earlier try may have set the tag, although its answer was lost: that there was another is remembered.
        self._follows_another |= there != str(self._attempt)

    def take(self) -> None:
        """The tag has just been made this attempt's."""
        if self._follows_another:
            self._alone_from = time.monotonic() + _WAIT_SECONDS

    def look(self, run: Run) -> Run | None:
        """To be called before each write. The run anew, where what is logged has to be taken from it. Raises
        Superseded, and what `MLflow.get_run` raises.
        """
        time.sleep(max(0.0, self._alone_from - time.monotonic()))
        if time.monotonic() < self._looked_at + _LOOK_SECONDS:
            return None
        found = self._client.get_run(run.id)
        self.check(found)
        self._looked_at = time.monotonic()
        others_may_have_written, self._follows_another = self._follows_another, False
        return found if others_may_have_written else None
