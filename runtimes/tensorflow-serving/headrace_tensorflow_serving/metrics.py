"""What is counted, in Prometheus' text format, under the official server's names. The rollout's analysis reads them.

As there, requests of the REST API are counted all, probes and metadata too (with an empty API in the latency), those of
gRPC only where they are predictions; latencies are those of requests answered OK, in microseconds. Other than there,
the series of the statuses that matter exist from the start, so that the first failure is an increase from 0.
All of it is written and read on the event loop.
"""

from __future__ import annotations

import resource
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from headrace_tensorflow_serving.codes import Code

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"

# A quantile read between two bounds is off by at most their ratio: 1.25 (official: 1.8), from 0.25 ms to a minute.
LATENCY_BOUNDS = tuple(float(f"{250 * 1.25**step:.3g}") for step in range(57))

INITIAL_CODES = (
    Code.OK,
    Code.INVALID_ARGUMENT,
    Code.FAILED_PRECONDITION,
    Code.NOT_FOUND,
    Code.RESOURCE_EXHAUSTED,
    Code.DEADLINE_EXCEEDED,
    Code.UNAVAILABLE,
    Code.UNKNOWN,
    Code.INTERNAL,
)


class Api(Enum):
    """The labels API and entrypoint, with the capitals that the official server gives them."""

    REST_PREDICT = ("predict", "REST")
    GRPC_PREDICT = ("Predict", "GRPC")
    REST_DESCRIBE = ("", "REST")


class Histogram:
    def __init__(self, name: str, labels: Mapping[str, str], bounds: Sequence[float] = LATENCY_BOUNDS) -> None:
        self._name = name
        self._labels = _written(labels)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterable[str]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            text = "+Inf" if bound == float("inf") else f"{bound:.12g}"
            yield f'{self._name}_bucket{{{self._labels},le="{text}"}} {total}'
        yield f"{self._name}_sum{{{self._labels}}} {self._sum!r}"
        yield f"{self._name}_count{{{self._labels}}} {total}"


class Metrics:
    """The counters of one server."""

    def __init__(self, model_name: str, info: Mapping[str, str]) -> None:
        self._model_name = model_name
        self._info = info
        self._started = time.time()
        self._requests = dict.fromkeys(INITIAL_CODES, 0)
        self._request_latency = {
            api: Histogram(REQUEST_LATENCY, {"model_name": model_name, "API": api.value[0], "entrypoint": api.value[1]})
            for api in Api
        }
        self._runtime_latency = Histogram(
            RUNTIME_LATENCY, {"model_name": model_name, "API": "Predict", "runtime": "TF1"}
        )
        self.in_flight = 0
        self.nonfinite_outputs = 0

    def count(self, code: Code) -> None:
        """A request that was answered with `code`."""
        self._requests[code] = self._requests.get(code, 0) + 1

    def observe_request(self, api: Api, seconds: float) -> None:
        """A request that was answered OK: from its last byte to the finished answer."""
        self._request_latency[api].observe(seconds * 1e6)

    def observe_run(self, seconds: float) -> None:
        """A run of the model that gave an answer."""
        self._runtime_latency.observe(seconds * 1e6)

    def render(self) -> str:
        lines = list(_head(REQUEST_COUNT, "counter", "The total number of requests."))
        for code, number in self._requests.items():
            labels = _written({"model_name": self._model_name, "status": code.value})
            lines.append(f"{REQUEST_COUNT}{{{labels}}} {number}")
        lines += _head(REQUEST_LATENCY, "histogram", "Microseconds of requests answered OK.")
        for histogram in self._request_latency.values():
            lines += histogram.lines()
        lines += _head(RUNTIME_LATENCY, "histogram", "Microseconds of the model's runs.")
        lines += self._runtime_latency.lines()
        lines += _head("headrace_model_info", "gauge", "The model that is served; always 1.")
        lines.append(f"headrace_model_info{{{_written(self._info)}}} 1")
        usage = resource.getrusage(resource.RUSAGE_SELF)
        for name, kind, text, value in (
            ("headrace_requests_in_flight", "gauge", "Predictions not answered yet.", self.in_flight),
            (
                "headrace_nonfinite_outputs_total",
                "counter",
                "Answers with a NaN or an infinity in them.",
                self.nonfinite_outputs,
            ),
            ("process_start_time_seconds", "gauge", "When the server started.", self._started),
            ("process_cpu_seconds_total", "counter", "CPU time.", usage.ru_utime + usage.ru_stime),
            ("process_resident_memory_bytes", "gauge", "Memory in use.", _resident_bytes()),
        ):
            lines += [*_head(name, kind, text), f"{name} {value!r}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> Iterable[str]:
    return (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
