"""The script's own count of what it does."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import SupportsIndex

from headrace_client import _followed


class Steps:
    """As range(start, stop); where the script is followed, from the iteration on that comes next."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def __len__(self) -> int:
        return len(range(self._start, self._stop))

    def __iter__(self) -> Iterator[int]:
        if _followed.follower is None:
            return iter(range(self._start, self._stop))
        return iter(_followed.follower.steps(self._start, self._stop))


def steps(start: SupportsIndex, stop: SupportsIndex | None = None, /) -> Steps:
    """The numbers of a training loop's iterations, as `range(stop)` or `range(start, stop)` has them:
    `for i in headrace_client.steps(1000): ...`.

    In a job of `framework: Keras` this makes the iteration the unit of a loop of the script's own, whatever is trained
    in it: a checkpoint is taken between two of them, progress knows how many there are, and after an interruption the
    loop goes on with the next one. A loop that had ended before yields nothing, and its models are as they were at its
    end. All that it trains is to be made before it begins. Inside of another one's iteration, in other threads, and
    wherever else, it is a range.
    """
    first, last = (0, start) if stop is None else (start, stop)
    return Steps(operator.index(first), operator.index(last))
