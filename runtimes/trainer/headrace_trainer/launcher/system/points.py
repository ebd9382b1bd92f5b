"""How samples become points of a curve (pure): few enough in a long run, and none is thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_DECIMALS = 3


def samples_a_point(seconds: float) -> int:
    """How many samples one point is the mean of, so long after an attempt has begun: one in the first two hours, then
    as many as there are full hours. With a sample every 10 s these are 360 points in the first hour, some 1,700 in a
    day and 3,000 in a month. Not the age of the run: a job that was suspended for a week would get none.
    """
    return max(1, int(seconds // 3600))


def mean(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each name over the samples that have it."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            values.setdefault(name, []).append(value)
    return {name: round(sum(found) / len(found), _DECIMALS) for name, found in values.items()}
