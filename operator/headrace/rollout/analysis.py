"""Judges a canary by its requests, beside the stable revision's in the same window (pure).

Counters are read from the serving pods and counted from baselines kept in status, so that neither a pod's restart nor
the operator's changes a verdict. A check gives no verdict before it has the samples that it asks for.

A request that a pod answers with a client error (4xx, a rejection) may be the client's fault or the model's: a canary
whose inputs changed rejects what stable accepts. The same holds of an answer with a NaN or an infinity in it. Only what
the canary has of them beyond stable's share counts, and only where chance does not explain the difference: a client
that sends garbage to both turns no canary back. While that is open, there are too few requests for a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from headrace.api.modelservice import Baseline, Check, CheckMetric, CheckStatus, Verdict
from headrace.api.scalars import format_decimal
from headrace.rollout.comparison import Difference, Share, compare, excess
from headrace.rollout.counters import Counters

QUANTILES = {CheckMetric.LATENCY_P50: 0.5, CheckMetric.LATENCY_P95: 0.95, CheckMetric.LATENCY_P99: 0.99}
INFINITY = float("inf")
# What a baseline in status has room for: our servers' 58 buckets with counts of nine digits.
MAX_BUCKETS_TEXT = 1024


@dataclass(frozen=True)
class Window:
    """The requests of one revision in the window of a step."""

    requests: int = 0
    errors: int = 0
    rejections: int = 0
    buckets: Mapping[float, int] = field(default_factory=dict)
    unseen_errors: int = 0  # of the errors, those that only the gateway counted
    nonfinite: int = 0  # of the answers, those with a NaN or an infinity in them

    @property
    def asked(self) -> int:
        """All requests, rejected ones too."""
        return self.requests + self.rejections

    @property
    def rejected(self) -> Share:
        return Share(self.rejections, self.asked)

    @property
    def not_finite(self) -> Share:
        answers = self.requests - self.errors
        return Share(min(self.nonfinite, answers), answers)

    @property
    def success_rate(self) -> float:
        """The share of requests that were answered without a server error."""
        return 1.0 if self.requests == 0 else (self.requests - self.errors) / self.requests

    @property
    def latencies(self) -> int:
        """Requests whose latency is known."""
        return max(self.buckets.values(), default=0)


def baseline_of(pod: str, counters: Counters) -> Baseline:
    """A pod's counters as status keeps them; without latencies where there are too many buckets."""
    text = ",".join(f"{bound!r}:{count}" for bound, count in counters.buckets)
    return Baseline(
        pod=pod,
        requests=counters.requests,
        errors=counters.errors,
        rejections=counters.rejections,
        nonfinite=counters.nonfinite,
        buckets=text if len(text) <= MAX_BUCKETS_TEXT else "",
    )


def counters_of(baseline: Baseline) -> Counters:
    """The counters in a baseline."""
    pairs = (part.split(":") for part in baseline.buckets.split(",") if part)
    buckets = tuple((float(bound), int(count)) for bound, count in pairs)
    return Counters(baseline.requests, baseline.errors, baseline.rejections, buckets, baseline.nonfinite)


def window(now: Mapping[str, Counters], baselines: Iterable[Baseline]) -> Window:
    """What the pods in `now` answered since their baselines.

    A pod that restarted counts from zero. One without a baseline counts nothing: what it answered before is unknown.
    """
    requests = errors = rejections = nonfinite = 0
    buckets: dict[float, int] = {}
    for baseline in baselines:
        counters = now.get(baseline.pod)
        if counters is None:
            continue
        start = counters_of(baseline)
        if _has_restarted(start, counters):
            start = Counters()
        requests += counters.requests - start.requests
        errors += counters.errors - start.errors
        rejections += counters.rejections - start.rejections
        nonfinite += counters.nonfinite - start.nonfinite
        earlier = dict(start.buckets)
        if start.requests and earlier.keys() != dict(counters.buckets).keys():
            continue  # a histogram with other bounds, or none, cannot be subtracted
        for bound, count in counters.buckets:
            buckets[bound] = buckets.get(bound, 0) + count - earlier.get(bound, 0)
    return Window(requests, errors, rejections, buckets, nonfinite=nonfinite)


def _has_restarted(start: Counters, now: Counters) -> bool:
    """A counter that went down began again."""
    before = dict(start.buckets)
    return (
        now.errors < start.errors
        or now.requests - now.errors < start.requests - start.errors
        or now.rejections < start.rejections
        or now.nonfinite < start.nonfinite
        or any(count < before.get(bound, 0) for bound, count in now.buckets)
    )


def with_unseen(pods: Window, gateway: Window) -> Window:
    """The pods' own window, and what the gateway counted beyond it: requests that failed and that no pod ever saw.

    The two are read one after the other and may differ by a request under way; a request is never counted twice.
    """
    requests, errors = max(pods.requests, gateway.requests), max(pods.errors, gateway.errors)
    return replace(pods, requests=requests, errors=errors, unseen_errors=errors - pods.errors)


def quantile(buckets: Mapping[float, int], q: float) -> float | None:
    """A quantile in seconds, linear within its bucket (as Prometheus' histogram_quantile); None without samples.

    In the last, unbounded bucket the answer is the highest bound: it is at least that.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total == 0:
        return None
    rank, below, low = q * total, 0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if bound == INFINITY:
                return low
            inside = count - below
            return low + (bound - low) * ((rank - below) / inside if inside else 1.0)
        below, low = count, bound
    return low


def judge(check: Check, canary: Window, stable: Window, before: CheckStatus | None) -> CheckStatus:
    """One look at one check; failures add up over the rollout."""
    failures = before.failures if before else 0
    judgement = (
        _success_rate(check, canary, stable)
        if check.metric is CheckMetric.SUCCESS_RATE
        else _latency(check, canary, stable)
    )
    return CheckStatus(
        name=check.name,
        verdict=judgement.verdict,
        value=None if judgement.value is None else _number(judgement.value),
        stable_value=None if judgement.against is None else _number(judgement.against),
        samples=judgement.samples,
        failures=failures + (judgement.verdict is Verdict.FAIL),
        message=judgement.message,
    )


@dataclass(frozen=True)
class _Judgement:
    verdict: Verdict
    message: str
    samples: int
    value: float | None = None
    against: float | None = None


@dataclass(frozen=True)
class _Compared:
    """One thing that may be the client's fault: how often it happened on both sides, and what that says."""

    words: str
    canary: Share
    stable: Share
    difference: Difference

    @property
    def excess(self) -> int:
        """What counts against the canary."""
        return excess(self.canary, self.stable) if self.difference is Difference.WORSE else 0

    @property
    def question(self) -> str:
        ours, theirs = self.canary, self.stable
        return f"{ours.count} of {ours.total} {self.words}, of the stable revision's {theirs.count} of {theirs.total}"


def _success_rate(check: Check, canary: Window, stable: Window) -> _Judgement:
    """What may be the client's fault either counts against the canary or not at all, so that it hides no errors."""
    least = check.min or Decimal(0)
    comparable = stable.asked >= check.min_requests

    def compared(words: str, ours: Share, theirs: Share) -> _Compared:
        known = comparable or not ours.count
        return _Compared(words, ours, theirs, compare(ours, theirs, float(1 - least)) if known else Difference.OPEN)

    rejected = compared("requests were rejected", canary.rejected, stable.rejected)
    not_finite = compared("answers had a NaN or an infinity in them", canary.not_finite, stable.not_finite)
    requests = canary.requests + rejected.excess
    errors = canary.errors + rejected.excess + not_finite.excess
    enough, passed = requests >= check.min_requests, requests - errors >= least * requests
    questions = [each.question for each in (rejected, not_finite) if each.difference is Difference.OPEN]
    if questions and (passed or not enough):
        if not comparable:
            return _too_few(check, stable.asked, "stable revision, to compare with")
        if canary.asked >= check.min_requests:
            message = f"not enough requests to tell it from chance: {'; '.join(questions)}"
            return _Judgement(Verdict.WAITING, message, canary.asked)
    if not enough:
        return _too_few(check, requests, "canary")
    rate = (requests - errors) / requests
    word = ">=" if passed else "<"
    message = f"success rate {_number(rate)} {word} {format_decimal(least)} of {requests} requests"
    if rejected.excess:
        message += f"; {rejected.excess} of them were rejected beyond the stable revision's share"
    if not_finite.excess:
        message += f"; {not_finite.excess} answers had a NaN or an infinity in them beyond the stable revision's share"
    if canary.unseen_errors:
        message += f"; {canary.unseen_errors} failed at the gateway and never reached a pod"
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return _Judgement(verdict, message, requests, rate, stable.success_rate if stable.requests else None)


def _latency(check: Check, canary: Window, stable: Window) -> _Judgement:
    """Errors have no latency: what counts as a sample is what the histograms hold."""
    if canary.requests >= check.min_requests and not canary.buckets:
        return _Judgement(Verdict.NO_DATA, "the pods report no latencies", 0)
    if canary.latencies < check.min_requests:
        return _too_few(check, canary.latencies, "canary")
    if stable.latencies < check.min_requests:
        return _too_few(check, stable.latencies, "stable revision")
    q = QUANTILES[check.metric]
    value, against = quantile(canary.buckets, q), quantile(stable.buckets, q)
    assert value is not None
    assert against is not None
    ratio = check.max_ratio_to_stable or Decimal(1)
    passed = value <= float(ratio) * against
    word = "<=" if passed else ">"
    message = f"p{q * 100:g} {value * 1000:.1f} ms {word} {format_decimal(ratio)} x {against * 1000:.1f} ms"
    return _Judgement(Verdict.PASS if passed else Verdict.FAIL, message, canary.latencies, value, against)


def _too_few(check: Check, requests: int, whose: str) -> _Judgement:
    verdict = Verdict.WAITING if requests else Verdict.NO_DATA
    return _Judgement(verdict, f"{requests} of {check.min_requests} requests of the {whose}", requests)


def _number(value: float) -> str:
    return format_decimal(round(value, 6))
