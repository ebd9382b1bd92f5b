"""What is counted, in Prometheus' text format. The names are not those of inferences: no rollout is judged by them."""

from __future__ import annotations

from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram
from headrace_serving.metrics import ServerMetrics

SECONDS_BOUNDS = exposition.bounds(0.00025)

INITIAL_CODES = (200, 400, 429, 500, 503, 504)


class Metrics(ServerMetrics):
    """The counters of one explainer."""

    def __init__(self, info: Mapping[str, str]) -> None:
        requests = ("headrace_explanation_requests_total", "Requests for explanations by HTTP status.")
        super().__init__(info, requests, INITIAL_CODES)
        self.evaluations = 0
        self.incomplete = 0
        self.seconds = Histogram("headrace_explanation_duration_seconds", SECONDS_BOUNDS)

    def render(self) -> str:
        histograms = ((self.seconds, "Requests answered with 200: from the last byte to the finished answer."),)
        numbers = (
            ("headrace_explanation_rows_total", "counter", "Rows that the model was asked.", self.evaluations),
            ("headrace_explanations_incomplete_total", "counter", "Answers that time ran out for.", self.incomplete),
            ("headrace_explanations_in_flight", "gauge", "Requests not answered yet.", self.in_flight),
            ("headrace_ready", "gauge", "1 when the explainer takes requests.", int(self.ready)),
        )
        return self.rendered(histograms, numbers)
