"""What a task makes of a model's answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from headrace_trainer.evaluation.statistics.families import Family

Array = np.ndarray[Any, np.dtype[Any]]


class Answers(Protocol):
    """One model's answers to all items: rows, or the groups of a ranking. `items` are the indices of those that are
    looked at, at least one.
    """

    def measured(self, items: Array) -> Mapping[str, float]:
        """The metrics by name. One that these items cannot tell, such as the area under a curve of a single class, is
        NaN.
        """
        ...

    def families(self, items: Array, wanted: Collection[str]) -> Sequence[Family]:
        """The same metrics, as functions of sums over `items`: those that are `wanted`, and what comes with them."""
        ...
