"""A loaded model: what goes in, what comes out, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headrace_explain.kind import Gradient

Array = np.ndarray[Any, np.dtype[Any]]
TEXT = "text"


@dataclass(frozen=True)
class Tensor:
    """One input or output. `dtype` is numpy's name, or TEXT; None in `shape` is any size. An output that `maps` is a
    dictionary a row, from classes to probabilities.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    maps: bool = False

    @property
    def is_float(self) -> bool:
        return self.maps or (self.dtype != TEXT and np.dtype(self.dtype).kind == "f")

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name} ({self.dtype} [{sizes}])"


class Artifact(Protocol):
    """`classes` are what the model itself says that its probabilities are of, in their order; empty where it does not
    say.
    """

    format: str

    @property
    def inputs(self) -> Sequence[Tensor]: ...

    @property
    def outputs(self) -> Sequence[Tensor]: ...

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def gradient(self) -> Gradient | None:
        """How an output changes with the inputs; None where the format has none. Raises whatever the library raises."""
        ...

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs, for a batch. Raises whatever the library raises."""
        ...
