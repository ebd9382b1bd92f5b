"""What is counted, in Prometheus' text format. The rollout's analysis reads these counters of each pod.

Requests are inferences: probes and metadata are not counted. All of it is written and read on the event loop.
"""

from __future__ import annotations

import resource
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A quantile read between two bounds is off by at most their ratio: 1.25, from 0.25 ms to a minute.
DURATION_BOUNDS = tuple(float(f"{0.00025 * 1.25**step:.3g}") for step in range(57))
ROWS_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)

# Present from the start, so that the first failure is an increase from 0 and not a new series.
INITIAL_CODES = (200, 400, 413, 500, 503, 504)


class Histogram:
    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterable[str]:
        yield from _head(self._name, "histogram", self._text)
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            yield f'{self._name}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}'
        yield f"{self._name}_sum {self._sum!r}"
        yield f"{self._name}_count {total}"


class Metrics:
    """The counters of one server."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self._info = info
        self._started = time.time()
        self._requests = dict.fromkeys(INITIAL_CODES, 0)
        self.in_flight = 0
        self.waiting = 0
        self.ready = False
        self.model_rejections = 0
        self.nonfinite_outputs = 0
        self.request_seconds = Histogram(
            "headrace_request_duration_seconds",
            "Inferences answered with 200: from the last byte of the request to the finished answer.",
            DURATION_BOUNDS,
        )
        self.inference_seconds = Histogram(
            "headrace_inference_seconds", "Runs of the model, each for one or more requests.", DURATION_BOUNDS
        )
        self.batch_rows = Histogram("headrace_batch_rows", "Rows of each run of the model.", ROWS_BOUNDS)

    def count_request(self, code: int) -> None:
        self._requests[code] = self._requests.get(code, 0) + 1

    def render(self) -> str:
        lines = list(_head("headrace_requests_total", "counter", "Inferences by HTTP status; 5xx are failures."))
        lines += [f'headrace_requests_total{{code="{code}"}} {n}' for code, n in sorted(self._requests.items())]
        for histogram in (self.request_seconds, self.inference_seconds, self.batch_rows):
            lines += histogram.lines()
        lines += _head("headrace_model_info", "gauge", "The model that is served; always 1.")
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self._info.items())
        lines.append(f"headrace_model_info{{{labels}}} 1")
        usage = resource.getrusage(resource.RUSAGE_SELF)
        for name, kind, text, value in (
            ("headrace_requests_in_flight", "gauge", "Inferences not answered yet.", self.in_flight),
            ("headrace_requests_waiting", "gauge", "Inferences waiting for the model.", self.waiting),
            ("headrace_ready", "gauge", "1 when the server takes requests.", int(self.ready)),
            (
                "headrace_model_rejections_total",
                "counter",
                "Requests that fit the signature and that the model could not compute (answered with 400).",
                self.model_rejections,
            ),
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


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
