"""What is counted, in Prometheus' text format. The rollout's analysis reads these counters of each pod.

Requests are inferences: probes and metadata are not counted. All of it is written and read on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram

DURATION_BOUNDS = exposition.bounds(0.00025)
ROWS_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)

# Present from the start, so that the first failure is an increase from 0 and not a new series.
INITIAL_CODES = (200, 400, 413, 500, 503, 504)


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
        self.incomplete_requests = 0
        self.buffered_bytes = 0
        self.request_seconds = Histogram("headrace_request_duration_seconds", DURATION_BOUNDS)
        self.inference_seconds = Histogram("headrace_inference_seconds", DURATION_BOUNDS)
        self.batch_rows = Histogram("headrace_batch_rows", ROWS_BOUNDS)

    def count_request(self, code: int) -> None:
        self._requests[code] = self._requests.get(code, 0) + 1

    def render(self) -> str:
        lines = list(
            exposition.head("headrace_requests_total", "counter", "Inferences by HTTP status; 5xx are failures.")
        )
        lines += [
            exposition.sample("headrace_requests_total", {"code": str(code)}, number)
            for code, number in sorted(self._requests.items())
        ]
        for histogram, text in (
            (
                self.request_seconds,
                "Inferences answered with 200: from the last byte of the request to the finished answer.",
            ),
            (self.inference_seconds, "Runs of the model, each for one or more requests."),
            (self.batch_rows, "Rows of each run of the model."),
        ):
            lines += exposition.head(histogram.name, "histogram", text)
            lines += histogram.lines()
        lines += exposition.model_info(self._info)
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
        ):
            lines += exposition.single(name, kind, text, value)
        lines += exposition.nonfinite_outputs(self.nonfinite_outputs)
        lines += exposition.incomplete_requests(self.incomplete_requests)
        lines += exposition.buffered_bytes(self.buffered_bytes)
        lines += exposition.process(self._started)
        return "\n".join(lines) + "\n"
