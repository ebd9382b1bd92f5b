"""What is counted, in Prometheus' text format. The rollout's analysis reads these counters of each pod.

Requests are inferences: probes and metadata are not counted. All of it is written and read on the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram
from headrace_serving.metrics import ServerMetrics

DURATION_BOUNDS = exposition.bounds(0.00025)
ROWS_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)

INITIAL_CODES = (200, 400, 413, 429, 500, 503, 504)


class Metrics(ServerMetrics):
    """The counters of one server."""

    def __init__(self, info: Mapping[str, str]) -> None:
        requests = ("headrace_requests_total", "Inferences by HTTP status; 5xx are failures.")
        super().__init__(info, requests, INITIAL_CODES)
        self.waiting = 0
        self.model_rejections = 0
        self.nonfinite_outputs = 0
        self.request_seconds = Histogram("headrace_request_duration_seconds", DURATION_BOUNDS)
        self.inference_seconds = Histogram("headrace_inference_seconds", DURATION_BOUNDS)
        self.batch_rows = Histogram("headrace_batch_rows", ROWS_BOUNDS)

    def render(self) -> str:
        histograms = (
            (
                self.request_seconds,
                "Inferences answered with 200: from the last byte of the request to the finished answer.",
            ),
            (self.inference_seconds, "Runs of the model, each for one or more requests."),
            (self.batch_rows, "Rows of each run of the model."),
        )
        numbers = (
            ("headrace_requests_in_flight", "gauge", "Inferences not answered yet.", self.in_flight),
            ("headrace_requests_waiting", "gauge", "Inferences waiting for the model.", self.waiting),
            ("headrace_ready", "gauge", "1 when the server takes requests.", int(self.ready)),
            (
                "headrace_model_rejections_total",
                "counter",
                "Requests that fit the signature and that the model could not compute (answered with 400).",
                self.model_rejections,
            ),
        )
        return self.rendered(histograms, numbers, exposition.nonfinite_outputs(self.nonfinite_outputs))
