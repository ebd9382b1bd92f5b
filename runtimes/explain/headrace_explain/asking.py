"""The model, asked in batches, within a time, and for one number a row: the value of an output's target."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from headrace_explain.kind import Array, Feed, NotExplainable, Predict

_BATCH_ROWS = 256
_BATCH_BYTES = 32 << 20


class TimeIsOver(Exception):
    """Between two batches."""


@dataclass
class Asking:
    """`until` is a time of `clock`; `evaluations` counts the rows."""

    predict: Predict
    until: float | None = None
    clock: Callable[[], float] = time.monotonic
    output: str = ""
    evaluations: int = field(default=0, init=False)

    def outputs(self, feed: Feed) -> Array:
        """The chosen output for each row, as a row of numbers. Raises NotExplainable, TimeIsOver."""
        parts = []
        rows, at_once = rows_of(feed), batch_rows(feed)
        for start in range(0, rows, at_once):
            self.look_at_clock()
            batch = {name: np.ascontiguousarray(values[start : start + at_once]) for name, values in feed.items()}
            found = self.predict(batch)
            here = min(at_once, rows - start)
            self.evaluations += here
            self.output = self.output or _first(found)
            parts.append(_numbers(found, self.output, here))
        return np.concatenate(parts)

    def values(self, feed: Feed, target: Array) -> Array:
        """The value of each row's target."""
        return picked(self.outputs(feed), target)

    def look_at_clock(self) -> None:
        if self.until is not None and self.clock() >= self.until:
            raise TimeIsOver


def rows_of(feed: Feed) -> int:
    return len(next(iter(feed.values())))


def batch_rows(feed: Feed) -> int:
    """How many rows go to the model at once."""
    row = sum(values[:1].nbytes for values in feed.values())
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(row, 1)))


def repeated(feed: Feed, row: int, times: int) -> dict[str, Array]:
    """One row so many times, without a copy."""
    return {name: np.broadcast_to(values[row], (times, *values.shape[1:])) for name, values in feed.items()}


def picked(outputs: Array, target: Array) -> Array:
    return np.asarray(outputs[np.arange(len(outputs)), target])


def _first(found: Feed) -> str:
    """A classifier of scikit-learn's names the class in its first output, and its probabilities are in the second."""
    broken = [name for name, values in found.items() if np.asarray(values).dtype.kind == "f"]
    if not found:
        raise NotExplainable("the model has no output")
    return broken[0] if broken else next(iter(found))


def _numbers(found: Feed, output: str, rows: int) -> Array:
    if output not in found:
        raise NotExplainable(f"the model has no output {output!r}; its outputs are {', '.join(found)}")
    values = np.asarray(found[output])
    if values.dtype.kind not in "fiub":
        raise NotExplainable(f"the output {output} has texts: name an output that has numbers")
    if values.ndim == 0 or len(values) != rows:
        raise NotExplainable(f"the output {output} has no row for each row that goes in: name another one")
    flat = values.reshape(rows, -1)
    # One number more than a class: the values of which place of a text or picture are meant, nobody says.
    if values.ndim > 2 and flat.shape[1] != max(values.shape[1:]):
        raise NotExplainable(
            f"the output {output} has the shape {list(values.shape[1:])} a row, and what is explained is one number a "
            "row, or one of each class: name another output"
        )
    if not flat.shape[1]:
        raise NotExplainable(f"the output {output} has no numbers: name another one")
    if not np.isfinite(flat).all():
        raise NotExplainable(f"the output {output} is not finite for rows that were made of the given ones")
    return flat.astype(np.float64)
