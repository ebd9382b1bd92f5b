"""What an explanation is, by which method it was made, and why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace_common.explanation import Method as Method

Array = np.ndarray[Any, np.dtype[Any]]
DType = np.dtype[Any]
Feed = Mapping[str, Array]
"""Arrays by the names of the model's inputs, each with a row in its first dimension."""
Predict = Callable[[dict[str, Array]], Mapping[str, Array]]
"""All outputs for a batch of rows. The batches are not of one size."""
Gradient = Callable[[dict[str, Array], str, Array], Mapping[str, Array]]
"""Of a batch, an output and a target a row: how the target's value changes with each value of each input."""


class NotExplainable(Exception):
    """`reason` is what is in the way and what to do, in a sentence that has no value of a row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfTime(NotExplainable):
    """The deadline came before the first row was explained."""


@dataclass(frozen=True)
class Explanation:
    """Of the first rows that were asked about: all of them, unless the time was over before (`complete` is False).

    Each array has a row a row. `target` is the number of the class in `output` (0 where it has one number a row),
    `prediction` its value, `base` its value where nothing is known of the row: of SHAPLEY the mean over the
    background, of the others that of the baseline. `attributions` has an array of each input's own shape.
    `gap` is prediction - base - the sum of the attributions: what the method has not found; None where the method
    promises no sum (OCCLUSION). `evaluations` are all rows that the model was asked for, `background` how many rows
    of the background were used.
    """

    method: Method
    output: str
    target: Array
    prediction: Array
    base: Array
    attributions: dict[str, Array]
    gap: Array | None
    evaluations: int
    background: int
    complete: bool

    @property
    def rows(self) -> int:
        return len(self.prediction)
