"""Text generation: how well a model knows the next token.

    cross_entropy    -log p of the token that comes, in nats, the mean over tokens
    perplexity       exp(cross_entropy)
    accuracy         the share of tokens that the model holds to be the likeliest
    top_5_accuracy   the share that is among the five likeliest

An item is a row: a text, or a part of one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace_trainer.evaluation.statistics.families import Array as Sums
from headrace_trainer.evaluation.statistics.families import Family, column, ratio

Array = np.ndarray[Any, np.dtype[Any]]
TOP = 5


@dataclass(frozen=True)
class Generated:
    """One model's answers: `sums` has of each text its tokens, the sum of -log p, and how many were right, and among
    the first five.
    """

    sums: Array
    weights: Array
    vocabulary: int

    def measured(self, items: Array) -> Mapping[str, float]:
        return self.families(items, ())[0].values()

    def families(self, items: Array, wanted: Collection[str]) -> Sequence[Family]:
        found = {
            "cross_entropy": column(1),
            "perplexity": _perplexity,
            "accuracy": column(2),
        }
        if self.vocabulary > TOP:
            found["top_5_accuracy"] = column(3)
        return [Family(self.sums[items] * self.weights[items][:, None], found)]


def _perplexity(sums: Sums) -> Sums:
    found: Sums = np.exp(ratio(sums[:, 1], sums[:, 0]))
    return found


def sums_of(log_probabilities: Array, tokens: Array, counts: Array) -> Array:
    """Of texts: `log_probabilities` is (texts, places, vocabulary), `tokens` what comes there, and `counts` where a
    token counts (what fills a text up does not).
    """
    safe = np.where(counts, tokens, 0)
    of_token = np.take_along_axis(log_probabilities, safe[..., None], axis=-1)[..., 0].astype(np.float64)
    same = of_token[..., None].astype(log_probabilities.dtype)
    # Of equal ones the first is the likelier: a model that knows nothing is not right of everything.
    before = np.arange(log_probabilities.shape[-1]) < safe[..., None]
    better = ((log_probabilities > same) | ((log_probabilities == same) & before)).sum(axis=-1)
    parts = (np.ones_like(of_token), -of_token, better < 1, better < TOP)
    return np.stack([np.where(counts, part, 0.0).sum(axis=1) for part in parts], axis=1)
