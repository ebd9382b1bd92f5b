"""Judges a canary by its requests, beside the stable revision's in the same window (pure).

Counters are read from the serving pods and counted from baselines kept in status, so that neither a pod's restart nor
the operator's changes a verdict. A check gives no verdict before it has the samples that it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from headrace.api.modelservice import Baseline, Check, CheckMetric, CheckStatus, Verdict
from headrace.api.scalars import format_decimal

QUANTILES = {CheckMetric.LATENCY_P50: 0.5, CheckMetric.LATENCY_P95: 0.95, CheckMetric.LATENCY_P99: 0.99}
INFINITY = float("inf")


@dataclass(frozen=True)
class Counters:
    """One pod's counters since it started; `buckets` is a cumulative histogram by upper bound in seconds."""

    requests: int = 0
    errors: int = 0
    buckets: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Window:
    """The requests of one revision in the window of a step."""

    requests: int = 0
    errors: int = 0
    buckets: Mapping[float, int] | None = None

    @property
    def success_rate(self) -> float:
        """The share of requests that were answered without a server error."""
        return 1.0 if self.requests == 0 else 1 - self.errors / self.requests


def baseline_of(pod: str, counters: Counters) -> Baseline:
    """A pod's counters as status keeps them."""
    text = ",".join(f"{bound:g}:{count}" for bound, count in counters.buckets)
    return Baseline(pod=pod, requests=counters.requests, errors=counters.errors, buckets=text)


def counters_of(baseline: Baseline) -> Counters:
    """The counters in a baseline."""
    pairs = (part.split(":") for part in baseline.buckets.split(",") if part)
    buckets = tuple((float(bound), int(count)) for bound, count in pairs)
    return Counters(baseline.requests, baseline.errors, buckets)


def window(now: Mapping[str, Counters], baselines: Iterable[Baseline]) -> Window:
    """What the pods in `now` answered since their baselines; a pod without one, or that restarted, counts from zero."""
    before = {baseline.pod: counters_of(baseline) for baseline in baselines}
    requests = errors = 0
    buckets: dict[float, int] = {}
    for pod, counters in now.items():
        start = before.get(pod, Counters())
        if counters.requests < start.requests:
            start = Counters()
        requests += counters.requests - start.requests
        errors += max(counters.errors - start.errors, 0)
        earlier = dict(start.buckets)
        for bound, count in counters.buckets:
            buckets[bound] = buckets.get(bound, 0) + count - earlier.get(bound, 0)
    return Window(requests, errors, buckets)


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
    if check.metric is CheckMetric.SUCCESS_RATE:
        verdict, value, against, message = _success_rate(check, canary, stable)
    else:
        verdict, value, against, message = _latency(check, canary, stable)
    return CheckStatus(
        name=check.name,
        verdict=verdict,
        value=None if value is None else _number(value),
        stable_value=None if against is None else _number(against),
        samples=canary.requests,
        failures=failures + (verdict is Verdict.FAIL),
        message=message,
    )


_Judgement = tuple[Verdict, float | None, float | None, str]


def _success_rate(check: Check, canary: Window, stable: Window) -> _Judgement:
    rate, least = canary.success_rate, check.min or Decimal(0)
    if canary.requests < check.min_requests:
        return _too_few(check, canary.requests, "canary")
    passed = Decimal(repr(rate)) >= least
    against = stable.success_rate if stable.requests else None
    word = ">=" if passed else "<"
    message = f"success rate {_number(rate)} {word} {format_decimal(least)} of {canary.requests} requests"
    return (Verdict.PASS if passed else Verdict.FAIL), rate, against, message


def _latency(check: Check, canary: Window, stable: Window) -> _Judgement:
    if canary.requests < check.min_requests:
        return _too_few(check, canary.requests, "canary")
    if stable.requests < check.min_requests:
        return _too_few(check, stable.requests, "stable revision")
    q = QUANTILES[check.metric]
    value, against = quantile(canary.buckets or {}, q), quantile(stable.buckets or {}, q)
    if value is None or against is None:
        return Verdict.NO_DATA, value, against, "the pods report no latencies"
    most = float(check.max_ratio_to_stable or 1) * against
    passed = value <= most
    word = "<=" if passed else ">"
    limit = format_decimal(check.max_ratio_to_stable or Decimal(1))
    message = f"p{q * 100:g} {value * 1000:.1f} ms {word} {limit} x {against * 1000:.1f} ms"
    return (Verdict.PASS if passed else Verdict.FAIL), value, against, message


def _too_few(check: Check, requests: int, whose: str) -> _Judgement:
    verdict = Verdict.WAITING if requests else Verdict.NO_DATA
    return verdict, None, None, f"{requests} of {check.min_requests} requests of the {whose}"


def _number(value: float) -> str:
    return format_decimal(round(value, 6))


def parse_metrics(text: str) -> Counters:
    """The counters in a serving pod's /metrics (Prometheus text format); lines that are not ours are passed over."""
    requests = errors = 0
    buckets: list[tuple[float, int]] = []
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith('headrace_requests_total{code="'):
            code = name.split('"')[1]
            count = _count(value)
            if code.startswith(("2", "5")):  # a client's own mistakes say nothing about the model
                requests += count
                errors += count if code.startswith("5") else 0
        elif name.startswith('headrace_request_duration_seconds_bucket{le="'):
            bound = name.split('"')[1]
            buckets.append((INFINITY if bound == "+Inf" else float(bound), _count(value)))
    return Counters(requests, errors, tuple(sorted(buckets)))


def _count(value: str) -> int:
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return 0
