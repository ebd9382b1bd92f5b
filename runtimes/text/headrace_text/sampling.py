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
        scaled = logits.astype(np.float64)
        weights = np.exp((scaled - scaled.max()) / self._sampling.temperature)
        if 0 < top_k < len(weights):
            tokens = _largest(weights, top_k)
        elif top_p < 1:
            tokens = _largest(weights, min(_NEAREST, len(weights)))
            if weights[tokens].sum() < top_p * weights.sum():
                tokens = _largest(weights, len(weights))
        else:
            return None, weights
        kept = weights[tokens]
        if top_p < 1:
            total = kept.sum() if top_k else weights.sum()
            before = np.cumsum(kept) - kept
            count = max(1, int(np.count_nonzero(before < top_p * total)))
            tokens, kept = tokens[:count], kept[:count]
        return tokens, kept


def _largest(weights: Logits, count: int) -> Logits:
    """Their places, the largest first; of equals the first."""
    found = np.argpartition(weights, -count)[-count:] if count < len(weights) else np.arange(len(weights))
    found.sort()
    return found[np.argsort(-weights[found], kind="stable")]
