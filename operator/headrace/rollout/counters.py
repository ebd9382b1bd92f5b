"""What serving pods and the gateway count, read from their metrics (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan

from headrace.rollout.adapter import Counter, Outcome, PodMetrics

MAX_COUNT = 2**53


@dataclass(frozen=True)
class Counters:
    """One pod's counters since it started; `buckets` is a cumulative histogram by upper bound in seconds."""

    requests: int = 0  # answered with 2xx or 5xx
    errors: int = 0  # of these, with 5xx
    rejections: int = 0  # answered with 4xx
    buckets: tuple[tuple[float, int], ...] = ()
    nonfinite: int = 0  # of the answers, those with a NaN or an infinity in them


def parse_metrics(text: str, metrics: PodMetrics) -> Counters:
    """The counters in a serving pod's metrics (Prometheus text format), read as its server's entry says.

    Other lines are passed over. Series of one name are added up: those of REST and gRPC, of several models.
    """
    counters, latency = {counter.name: counter for counter in metrics.counters}, metrics.latency
    histogram = f"{latency.histogram}_bucket" if latency is not None else None
    counts: dict[Outcome, int] = {}
    buckets: dict[float, int] = {}
    for name, labels, count in _samples(text, (*counters, *([histogram] if histogram else ()))):
        if (counter := counters.get(name)) is not None:
            _add(counts, counter.outcome(labels), count)
        elif latency is None or name != histogram or not latency.counts(labels):
            continue
        elif (bound := _bound(labels.get("le", ""))) is not None:
            # Rounded, so that a baseline's text is short; nobody's bounds are that close to each other.
            bound = float(f"{bound * latency.unit.in_seconds:.6g}")
            buckets[bound] = buckets.get(bound, 0) + count
    return _counters(counts, buckets)


def parse_gateway_metrics(text: str, backend: re.Pattern[str]) -> Counters:
    """What Traefik counted of the answers of one backend's pods, of those too that no pod ever gave (502, 504).

    `backend` matches its name (see `traefik`). A series that is not there is a backend without a request.
    """
    counts: dict[Outcome, int] = {}
    for _, labels, count in _samples(text, (f"{_TRAEFIK.name}{{",)):
        if backend.fullmatch(labels.get("service", "")) is not None:
            _add(counts, _TRAEFIK.outcome(labels), count)
    return _counters(counts, {})


def _add(counts: dict[Outcome, int], outcome: Outcome | None, count: int) -> None:
    if outcome is not None:
        counts[outcome] = counts.get(outcome, 0) + count


def _counters(counts: Mapping[Outcome, int], buckets: Mapping[float, int]) -> Counters:
    failed = counts.get(Outcome.FAILED, 0)
    return Counters(
        requests=counts.get(Outcome.ANSWERED, 0) + failed,
        errors=failed,
        rejections=counts.get(Outcome.REJECTED, 0),
        buckets=tuple(sorted(buckets.items())),
        nonfinite=counts.get(Outcome.NON_FINITE, 0),
    )


def _samples(text: str, prefixes: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], int]]:
    """Name, labels and value of the lines that begin so. Time is linear in the text: anybody may have written it."""
    for line in text.splitlines():
        if line.startswith(prefixes) and len(line) <= _MAX_LINE and (sample := _SAMPLE.fullmatch(line)) is not None:
            yield sample["name"], _labels(sample["labels"] or ""), _count(sample["value"])


_TRAEFIK = Counter(name="traefik_service_requests_total", label="code", rejected=("4*",), failed=("5*",))
_TEXT = r'"(?:[^"\\]|\\.)*"'  # a label's value may have quotes and braces in it
_SAMPLE = re.compile(
    rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{(?P<labels>(?:[^\"}}]|{_TEXT})*)\}})? +(?P<value>\S+)(?: +-?[0-9]+)? *"
)
_LABEL = re.compile(rf"(?:^|,) *([a-zA-Z_][a-zA-Z0-9_]{{0,63}})=({_TEXT})")
_ESCAPED = re.compile(r"\\(.)")
_MAX_LINE = 2048


def _labels(text: str) -> dict[str, str]:
    return {
        found[1]: _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], found[2][1:-1])
        for found in _LABEL.finditer(text)
    }


def _count(value: str) -> int:
    try:
        return min(max(int(float(value)), 0), MAX_COUNT)
    except (ValueError, OverflowError):
        return 0


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if isnan(bound) else bound
