"""What is counted, in Prometheus' text format. The rollout's analysis reads these counters of each pod.

Requests are those for text: probes, metadata and lists of models are not counted. All of it is written and read on the
event loop.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram
from headrace_serving.metrics import ServerMetrics

DURATION_BOUNDS = exposition.bounds(0.00025)

INITIAL_CODES = (200, 400, 413, 422, 429, 499, 500, 503, 504)


class Metrics(ServerMetrics):
    """The counters of one server."""

    def __init__(self, info: Mapping[str, str]) -> None:
        requests = ("headrace_requests_total", "Requests for text by HTTP status; 5xx are failures.")
        super().__init__(info, requests, INITIAL_CODES)
        self.running = 0
        self.waiting = 0
        self.slots = 0
        self.prompt_tokens = 0
        self.answer_tokens = 0
        self.nonfinite_outputs = 0
        self.request_seconds = Histogram("headrace_request_duration_seconds", DURATION_BOUNDS)
        self.first_token_seconds = Histogram("headrace_time_to_first_token_seconds", DURATION_BOUNDS)
        self.token_seconds = Histogram("headrace_time_between_tokens_seconds", DURATION_BOUNDS)

    def render(self) -> str:
        histograms = (
            (
                self.request_seconds,
                "Requests answered with 200: from the last byte of the request to the end of the answer.",
            ),
            (self.first_token_seconds, "From the last byte of a request to the first token of its answer."),
            (self.token_seconds, "Between two tokens of one answer."),
        )
        numbers = (
            ("headrace_requests_in_flight", "gauge", "Requests for text not answered yet.", self.in_flight),
            ("headrace_requests_running", "gauge", "Requests in the batch, read or written.", self.running),
            ("headrace_requests_waiting", "gauge", "Requests waiting for a place in the batch.", self.waiting),
            ("headrace_slots", "gauge", "Places in the batch.", self.slots),
            ("headrace_prompt_tokens_total", "counter", "Tokens of prompts.", self.prompt_tokens),
            ("headrace_answer_tokens_total", "counter", "Tokens of answers.", self.answer_tokens),
            ("headrace_ready", "gauge", "1 when the server takes requests.", int(self.ready)),
        )
        return self.rendered(histograms, numbers, exposition.nonfinite_outputs(self.nonfinite_outputs))
