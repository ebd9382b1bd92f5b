"""When a fit is worth an early trial of the export: it has run for a while, and has still long to go. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Waiting:
    """Waits for `after` seconds since the fit's first batch in this process, and asks for `left` more to come."""

    after: float
    left: float
    _first: tuple[int, float] | None = None  # step and time

    def is_over(self, step: int, total: int | None, now: float) -> bool:
        """At the end of a batch: `step` of `total` steps, None where that is not known, which may be long."""
        if self._first is None:
            self._first = (step, now)
        first, began = self._first
        if now - began < self.after:
            return False
        if total is None or step <= first:
            return True
        return (total - step) * (now - began) / (step - first) >= self.left
