"""Whether something happens to a canary's requests more often than to the stable revision's (pure).

For what may be the client's fault as well as the model's: refusals, and answers that are no numbers. The answer is one
of three, for few requests prove neither that a canary is worse nor that it is not. With more requests each comparison
ends: an excess that is there becomes too large for chance, one that is not there becomes too small to matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import exp, lgamma, sqrt

# How seldom chance may give as many as the canary has. A rollout is looked at again and again, in several steps: the
# simulation in the tests holds equal models to 1 % of rollouts.
CHANCE = 1 / 2000
# An excess of less than this share of the requests is not waited for: to exclude it takes thousands of requests.
LEAST_MARGIN = 0.1
# Standard errors by which the excess has to stay below the margin.
SIGMAS = 2.0


class Difference(Enum):
    """What is known of the canary beside the stable revision."""

    WORSE = auto()
    OPEN = auto()
    NONE = auto()


@dataclass(frozen=True)
class Share:
    """It happened to `count` of `total` requests."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        return self.count / self.total if self.total else 0.0


def compare(canary: Share, stable: Share, margin: float) -> Difference:
    """`margin` is the excess, as a share of the requests, that would be tolerated; at least LEAST_MARGIN is."""
    if canary.count == 0:
        return Difference.NONE
    if not canary.total or not stable.total:
        return Difference.OPEN
    if chance_of(canary, stable) <= CHANCE:
        return Difference.WORSE
    return Difference.NONE if _is_excluded(canary, stable, max(margin, LEAST_MARGIN)) else Difference.OPEN


def excess(canary: Share, stable: Share) -> int:
    """Requests of the canary beyond the stable revision's share."""
    return max(round(canary.count - stable.rate * canary.total), 0)


def chance_of(canary: Share, stable: Share) -> float:
    """How likely the canary has that many or more of all there are, both being equal: Fisher's exact test, one-sided.

    Exact, because the counts are small: of 50 requests beside 5,000 a single one is nothing.
    """
    if canary.rate <= stable.rate:
        return 1.0
    happened = canary.count + stable.count
    term = exp(
        _log_choose(canary.total, canary.count)
        + _log_choose(stable.total, stable.count)
        - _log_choose(canary.total + stable.total, happened)
    )
    total = 0.0
    for count in range(canary.count, min(happened, canary.total) + 1):
        total += term
        if term <= total * 1e-12:  # above the mean they fall faster and faster
            break
        others = stable.total - happened + count + 1
        term *= (canary.total - count) * (happened - count) / ((count + 1) * others)
    return min(total, 1.0)


def _is_excluded(canary: Share, stable: Share, margin: float) -> bool:
    """The excess would hardly be this small if it were `margin`: a score test of that hypothesis."""
    expected = stable.rate + margin
    if expected >= 1:
        return True
    variance = expected * (1 - expected) / canary.total + stable.rate * (1 - stable.rate) / stable.total
    return canary.rate - stable.rate + SIGMAS * sqrt(variance) <= margin


def _log_choose(total: int, count: int) -> float:
    return lgamma(total + 1) - lgamma(count + 1) - lgamma(total - count + 1)
