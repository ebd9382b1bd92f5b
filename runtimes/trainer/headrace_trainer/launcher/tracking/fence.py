"""One attempt at a time writes the run: one that was cut off, on a node that nobody hears from, may still be training.

The run's tag says which attempt is there. An earlier one looks at it every few seconds before it writes; a later one,
once the tag is its own, first waits for longer than that, and takes from the run what has been logged until then. The
tag only grows: an earlier attempt that comes to its run late leaves it as it is.
"""

from __future__ import annotations

import math
import time

from headrace_common.tags import ATTEMPT_TAG, OUTCOME_TAG
from headrace_trainer.launcher.tracking.mlflow import Missing, MLflow, Run

_LOOK_SECONDS = 3.0
_WAIT_SECONDS = 2 * _LOOK_SECONDS


class Superseded(Exception):
    """A later attempt writes the run now."""


class RunDeleted(Exception):
    """Somebody has deleted the run in MLflow, or its experiment: nothing can be written until it is restored."""


class Fence:
    """Between this attempt and the others; used by the one thread that writes."""

    def __init__(self, client: MLflow, attempt: int) -> None:
        self._client = client
        self._attempt = attempt
        self._looked_at = -math.inf
        self._follows_another = False
        self._alone_from = 0.0

    def check(self, found: Run) -> None:
        """To be called before the tag is made this attempt's; `found` is the run as it is. Raises Superseded, and
        RunDeleted.
        """
        there = found.tags.get(ATTEMPT_TAG, "")
        if there.isdigit() and int(there) > self._attempt:
            raise Superseded(f"attempt {there} writes the run now: this one leaves it alone")
        if found.deleted:
            raise RunDeleted(f"run {found.id} was deleted in MLflow, by itself or with its experiment")
        # An earlier try may have set the tag, although its answer was lost: that there was another is remembered.
        # A run without the tag was only made, by a stage before this one.
        self._follows_another |= there not in ("", str(self._attempt))

    def take(self) -> None:
        """The tag has just been made this attempt's."""
        if self._follows_another:
            self._alone_from = time.monotonic() + _WAIT_SECONDS

    def look(self, run: Run) -> Run | None:
        """To be called before each write. The run anew, where what is logged has to be taken from it. Raises
        Superseded, RunDeleted, and what `MLflow.get_run` raises.
        """
        time.sleep(max(0.0, self._alone_from - time.monotonic()))
        return self.look_now(run) if self.seconds_since_look() > _LOOK_SECONDS else None

    def look_now(self, run: Run) -> Run | None:
        """The same, however short ago the last look was. The run's status is this attempt's too: a process of the
        script's may have ended the run with its own part in it.
        """
        try:
            found = self._client.get_run(run.id)
        except Missing as error:
            raise RunDeleted(f"run {run.id} was deleted in MLflow for good: the next attempt makes another") from error
        self.check(found)
        if found.status != "RUNNING" and OUTCOME_TAG not in found.tags:
            self._client.update_run(run.id, "RUNNING", None)
        self._looked_at = time.monotonic()
        others_may_have_written, self._follows_another = self._follows_another, False
        return found if others_may_have_written else None

    def seconds_since_look(self) -> float:
        """How old the knowledge is that the run is there and this attempt's."""
        return time.monotonic() - self._looked_at
