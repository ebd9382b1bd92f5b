"""What is counted, in Prometheus' text format, under the official server's names. The rollout's analysis reads them.

As there, requests of the REST API are counted all, probes and metadata too (with an empty API in the latency), those of
gRPC only where they are predictions; latencies are those of requests answered OK, in microseconds. Other than there,
the series of the statuses that matter exist from the start, so that the first failure is an increase from 0.
All of it is written and read on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import Enum

from headrace_serving import exposition
from headrace_serving.exposition import Histogram
from headrace_tensorflow_serving.codes import Code

REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"

# Microseconds, 1.25 apart; the official server's are 1.8.
LATENCY_BOUNDS = exposition.bounds(250)

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


class Metrics:
    """The counters of one server."""

    def __init__(self, model_name: str, info: Mapping[str, str]) -> None:
        self._model_name = model_name
        self._info = info
        self._started = time.time()
        self._requests = dict.fromkeys(INITIAL_CODES, 0)
        self._request_latency = {
            api: Histogram(
                REQUEST_LATENCY,
                LATENCY_BOUNDS,
                {"model_name": model_name, "API": api.value[0], "entrypoint": api.value[1]},
            )
            for api in Api
        }
        self._runtime_latency = Histogram(
            RUNTIME_LATENCY, LATENCY_BOUNDS, {"model_name": model_name, "API": "Predict", "runtime": "TF1"}
        )
        self.in_flight = 0
        self.nonfinite_outputs = 0
        self.incomplete_requests = 0
        self.buffered_bytes = 0

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
        lines = list(exposition.head(REQUEST_COUNT, "counter", "The total number of requests."))
        for code, number in self._requests.items():
            labels = {"model_name": self._model_name, "status": code.value}
            lines.append(exposition.sample(REQUEST_COUNT, labels, number))
        lines += exposition.head(REQUEST_LATENCY, "histogram", "Microseconds of requests answered OK.")
        for histogram in self._request_latency.values():
            lines += histogram.lines()
        lines += exposition.head(RUNTIME_LATENCY, "histogram", "Microseconds of the model's runs.")
        lines += self._runtime_latency.lines()
        lines += exposition.model_info(self._info)
        lines += exposition.single(
            "headrace_requests_in_flight", "gauge", "Predictions not answered yet.", self.in_flight
        )
        lines += exposition.nonfinite_outputs(self.nonfinite_outputs)
        lines += exposition.incomplete_requests(self.incomplete_requests)
        lines += exposition.buffered_bytes(self.buffered_bytes)
        lines += exposition.process(self._started)
        return "\n".join(lines) + "\n"
