"""Prometheus' text format: histograms, single values, and what every server tells about its process.

Which metrics there are, and their names, is each server's own: its metrics.py.
"""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NO_LABELS: Mapping[str, str] = {}


def bounds(lowest: float) -> tuple[float, ...]:
    """Of a histogram: a quantile read between two of them is off by at most their ratio, 1.25.

    Where `lowest` is 0.25 ms, in whatever unit, the highest is a minute.
    """
    return tuple(float(f"{lowest * 1.25**step:.3g}") for step in range(57))


class Histogram:
    """All of it is written and read on the event loop."""

    def __init__(self, name: str, bounds: Sequence[float], labels: Mapping[str, str] = _NO_LABELS) -> None:
        self.name = name
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        texts = [*(f"{bound:.12g}" for bound in bounds), "+Inf"]
        self._buckets = [_series(f"{name}_bucket", {**labels, "le": text}) for text in texts]
        self._sum_series = _series(f"{name}_sum", labels)
        self._count_series = _series(f"{name}_count", labels)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterable[str]:
        """Without a head: histograms that differ in their labels only share one."""
        total = 0
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            total += count
            yield f"{bucket} {total}"
        yield f"{self._sum_series} {self._sum!r}"
        yield f"{self._count_series} {total}"


def head(name: str, kind: str, text: str) -> Iterable[str]:
    return (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    return f"{_series(name, labels)} {value!r}"


def single(name: str, kind: str, text: str, value: float) -> Iterable[str]:
    """A metric that is one number."""
    return (*head(name, kind, text), sample(name, _NO_LABELS, value))


def model_info(labels: Mapping[str, str]) -> Iterable[str]:
    name = "headrace_model_info"
    return (*head(name, "gauge", "The model that is served; always 1."), sample(name, labels, 1))


def nonfinite_outputs(number: int) -> Iterable[str]:
    return single("headrace_nonfinite_outputs_total", "counter", "Answers with a NaN or an infinity in them.", number)


def incomplete_requests(number: int) -> Iterable[str]:
    text = "Requests whose body did not come: the client went away or was too slow. Counted nowhere else."
    return single("headrace_incomplete_requests_total", "counter", text, number)


def buffered_bytes(number: int) -> Iterable[str]:
    return single("headrace_buffered_bytes", "gauge", "Bytes of requests that the server holds now.", number)


def process(started: float) -> Iterable[str]:
    """`started` is in seconds since 1970."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (
        *single("process_start_time_seconds", "gauge", "When the server started.", started),
        *single("process_cpu_seconds_total", "counter", "CPU time.", usage.ru_utime + usage.ru_stime),
        *single("process_resident_memory_bytes", "gauge", "Memory in use.", _resident_bytes()),
    )


def _series(name: str, labels: Mapping[str, str]) -> str:
    written = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{written}}}" if written else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
