"""What a run has reported of the objective, in bounded room: counted exactly, and kept thinned (pure)."""

from __future__ import annotations

import math

_MOST = 1000


class History:
    """Of its reports each `stride`-th is kept, the first one always; `stride` is a power of 2."""

    def __init__(self, *reports: float) -> None:
        self.count = 0
        self.stride = 1
        self.least = math.nan
        self.greatest = math.nan
        self._kept: list[float] = []
        for value in reports:
            self.add(value)

    def add(self, value: float) -> None:
        """One more, behind the others."""
        if self.count % self.stride == 0:
            self._kept.append(value)
        self.count += 1
        # A number is neither less nor greater than none.
        self.least = self.least if value >= self.least or math.isnan(value) else value
        self.greatest = self.greatest if value <= self.greatest or math.isnan(value) else value
        if len(self._kept) > _MOST:
            del self._kept[1::2]
            self.stride *= 2

    def at(self, place: int) -> float | None:
        """The report of this number, from 0; None where there is none yet. Of places that were thinned out it is asked
        for none: they are multiples of `stride`.
        """
        return self._kept[place // self.stride] if place < self.count else None
