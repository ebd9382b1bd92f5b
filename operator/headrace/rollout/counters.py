"""What serving pods count, read from their metrics (pure): our own servers' and TensorFlow Serving's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import isnan

MAX_COUNT = 2**53


@dataclass(frozen=True)
class Counters:
    """One pod's counters since it started; `buckets` is a cumulative histogram by upper bound in seconds."""

    requests: int = 0  # answered with 2xx or 5xx
    errors: int = 0  # of these, with 5xx
    rejections: int = 0  # answered with 4xx
    buckets: tuple[tuple[float, int], ...] = ()
    nonfinite: int = 0  # of the answers, those with a NaN or an infinity in them


def parse_metrics(text: str) -> Counters:
    """The counters in a serving pod's metrics (Prometheus text format): our own servers' and TensorFlow Serving's.

    Lines that are neither are passed over. Both of our servers count answers with a NaN or an infinity in them; the
    official TensorFlow Serving does not. TensorFlow Serving counts by gRPC status code and measures in microseconds
    (tensorflow_serving/servables/tensorflow/util.cc). It counts questions for its status as requests, too, and so every
    probe: answered predictions are those in its latencies, which have an API. REST and gRPC are added up.
    """
    requests = errors = rejections = nonfinite = 0
    buckets: dict[float, int] = {}
    for name, labels, count in _samples(text, _OURS):
        if name.startswith(_TENSORFLOW_LATENCY) and not labels.get("API"):
            continue
        if name in _REQUESTS and (outcome := _REQUESTS[name](labels)) is not None:
            requests += count if outcome is not _Outcome.REJECTED else 0
            errors += count if outcome is _Outcome.FAILED else 0
            rejections += count if outcome is _Outcome.REJECTED else 0
        elif name in _SECONDS and (bound := _bound(labels.get("le", ""))) is not None:
            # Rounded, so that a baseline's text is short; nobody's bounds are that close to each other.
            bound = float(f"{bound * _SECONDS[name]:.6g}")
            buckets[bound] = buckets.get(bound, 0) + count
        elif name == _NONFINITE:
            nonfinite += count
    return Counters(requests, errors, rejections, tuple(sorted(buckets.items())), nonfinite)


def parse_gateway_metrics(text: str, backend: re.Pattern[str]) -> Counters:
    """What Traefik counted of the answers of one backend's pods, of those too that no pod ever gave (502, 504).

    `backend` matches its name (see `traefik`). A series that is not there is a backend without a request.
    """
    requests = errors = rejections = 0
    for _, labels, count in _samples(text, ("traefik_service_requests_total{",)):
        if backend.fullmatch(labels.get("service", "")) is None:
            continue
        outcome = _by_http_status(labels)
        requests += count if outcome is not _Outcome.REJECTED else 0
        errors += count if outcome is _Outcome.FAILED else 0
        rejections += count if outcome is _Outcome.REJECTED else 0
    return Counters(requests, errors, rejections)


def _samples(text: str, prefixes: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], int]]:
    """Name, labels and value of the lines that begin so. Time is linear in the text: anybody may have written it."""
    for line in text.splitlines():
        if line.startswith(prefixes) and len(line) <= _MAX_LINE and (sample := _SAMPLE.fullmatch(line)) is not None:
            yield sample["name"], dict(_LABEL.findall(sample["labels"] or "")), _count(sample["value"])


class _Outcome(Enum):
    ANSWERED = auto()
    FAILED = auto()
    REJECTED = auto()


def _by_http_status(labels: Mapping[str, str]) -> _Outcome:
    family = labels.get("code", "")[:1]
    return {"4": _Outcome.REJECTED, "5": _Outcome.FAILED}.get(family, _Outcome.ANSWERED)


def _by_grpc_status(labels: Mapping[str, str]) -> _Outcome | None:
    status = labels.get("status", "")
    if status == "OK":
        return None  # probes among them
    return _Outcome.REJECTED if status in _CLIENTS_FAULT else _Outcome.FAILED


_TENSORFLOW_LATENCY = ":tensorflow:serving:request_latency"
_REQUESTS: Mapping[str, Callable[[Mapping[str, str]], _Outcome | None]] = {
    "headrace_requests_total": _by_http_status,
    ":tensorflow:serving:request_count": _by_grpc_status,
    f"{_TENSORFLOW_LATENCY}_count": lambda _: _Outcome.ANSWERED,
}
# Histograms of latencies, and their unit in seconds.
_SECONDS = {
    "headrace_request_duration_seconds_bucket": 1.0,
    f"{_TENSORFLOW_LATENCY}_bucket": 1e-6,
}
_CLIENTS_FAULT = frozenset(
    (
        "ALREADY_EXISTS",
        "CANCELLED",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    )
)
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(?:^|,)([a-zA-Z_]{1,64})="([^"]*)"')
_NONFINITE = "headrace_nonfinite_outputs_total"
_OURS = ("headrace_request", ":tensorflow:serving:request_", _NONFINITE)
_MAX_LINE = 2048


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
