"""Which token comes next: the likeliest one, or one drawn by temperature, top-k and top-p with a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Logits = np.ndarray[Any, np.dtype[Any]]

# The nucleus of nearly every text lies within so many tokens; sorting a whole vocabulary takes milliseconds.
_NEAREST = 1024


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0: the likeliest. `top_k` 0: of the whole vocabulary. `seed` None: another one each time."""

    temperature: float
    top_k: int
    top_p: float
    seed: int | None


class Sampler:
    """Of one request, with a stream of random numbers of its own: who else is in the batch changes nothing."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        seed = None if sampling.seed is None else sampling.seed % 2**64
        self._random = np.random.default_rng(seed) if sampling.temperature > 0 else None

    def pick(self, logits: Logits) -> int:
        """A token, of the logits of the whole vocabulary."""
        if self._random is None:
            return int(logits.argmax())
        tokens, weights = self._candidates(logits)
        sums = np.cumsum(weights)
        drawn = np.searchsorted(sums, self._random.random() * sums[-1], side="right")
        index = min(int(drawn), len(weights) - 1)
        return index if tokens is None else int(tokens[index])

    def _candidates(self, logits: Logits) -> tuple[Logits | None, Logits]:
        """Tokens, the likeliest first where not all of them are left, and the weight of each."""
        top_k, top_p = self._sampling.top_k, self._sampling.top_p
        if 0 < top_k < len(logits):
            tokens = _largest(logits, top_k)
            return _nucleus(tokens, self._weights(logits[tokens]), top_p)
        weights = self._weights(logits)
        if top_p >= 1:
            return None, weights
        total = weights.sum()
        tokens = _largest(logits, min(_NEAREST, len(logits)))
        if weights[tokens].sum() < top_p * total:
            tokens = _largest(logits, len(logits))
        return _nucleus(tokens, weights[tokens], top_p, total)

    def _weights(self, logits: Logits) -> Logits:
        scaled = logits.astype(np.float64)
        weights: Logits = np.exp((scaled - scaled.max()) / self._sampling.temperature)
        return weights


def _nucleus(tokens: Logits, weights: Logits, top_p: float, total: float | None = None) -> tuple[Logits, Logits]:
    """The likeliest tokens that have `top_p` of all weights, one at least. `total` counts others too."""
    if top_p >= 1:
        return tokens, weights
    before = np.cumsum(weights) - weights
    count = max(1, int(np.count_nonzero(before < top_p * (weights.sum() if total is None else total))))
    return tokens[:count], weights[:count]


def _largest(values: Logits, count: int) -> Logits:
    """Their places, the largest first; of equals the first."""
    found = np.argpartition(values, -count)[-count:] if count < len(values) else np.arange(len(values))
    found.sort()
    return found[np.argsort(-values[found], kind="stable")]
