"""What the values of a row are called: by the columns that they came from (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from headrace_explain.choose import is_table
from headrace_trainer.evaluation.artifact.kind import Array

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Feature:
    """One value of each row: of which input, and at which place of it when it is flat."""

    name: str
    input: str
    place: int


def features(feed: Mapping[str, Array], columns: Mapping[str, Sequence[str]]) -> list[Feature]:
    """All of them, where the inputs are columns of a table; else none: a pixel has no name."""
    if not is_a_table(feed, columns):
        return []
    found = []
    for name, values in feed.items():
        width, of = prod(values.shape[1:]), columns[name]
        names = of if len(of) == width else [f"{of[0]}[{place}]" for place in range(width)]
        if len(of) not in (1, width):  # some of the columns have several values
            names = [f"{name}[{place}]" for place in range(width)]
        found += [Feature(one, name, place) for place, one in enumerate(names)]
    return found


def is_a_table(feed: Mapping[str, Array], columns: Mapping[str, Sequence[str]]) -> bool:
    """What is made of several columns is no text, though its numbers are whole ones."""
    shapes = {name: values.shape[1:] for name, values in feed.items()}
    dtypes = {name: _FLOAT if len(columns[name]) > 1 else values.dtype for name, values in feed.items()}
    return is_table(shapes, dtypes)


def beside_one_another(arrays: Mapping[str, Array]) -> Array:
    """Of each row all values, in the order of `features`."""
    return np.concatenate([values.reshape(len(values), -1) for values in arrays.values()], axis=1)
