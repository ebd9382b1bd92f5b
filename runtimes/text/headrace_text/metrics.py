"""What is counted, in Prometheus' text format. The rollout's analysis reads these counters of each pod.

Requests are those for text: probes, metadata and lists of models are not counted. All of it is written and read on the
event loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram

DURATION_BOUNDS = exposition.bounds(0.00025)

# Present from the start, so that the first failure is an increase from 0 and not a new series.
INITIAL_CODES = (200, 400, 413, 422, 429, 499, 500, 503, 504)


class Metrics:
    """The counters of one server."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self._info = info
        self._started = time.time()
        self._requests = dict.fromkeys(INITIAL_CODES, 0)
        self.in_flight = 0
        self.running = 0
        self.waiting = 0
        self.slots = 0
        self.ready = False
        self.prompt_tokens = 0
        self.answer_tokens = 0
        self.nonfinite_outputs = 0
        self.incomplete_requests = 0
        self.buffered_bytes = 0
        self.request_seconds = Histogram("headrace_request_duration_seconds", DURATION_BOUNDS)
        self.first_token_seconds = Histogram("headrace_time_to_first_token_seconds", DURATION_BOUNDS)
        self.token_seconds = Histogram("headrace_time_between_tokens_seconds", DURATION_BOUNDS)

    def count_request(self, code: int) -> None:
        self._requests[code] = self._requests.get(code, 0) + 1

    def render(self) -> str:
        lines = list(
            exposition.head("headrace_requests_total", "counter", "Requests for text by HTTP status; 5xx are failures.")
        )
        lines += [
            exposition.sample("headrace_requests_total", {"code": str(code)}, number)
            for code, number in sorted(self._requests.items())
        ]
        for histogram, text in (
            (
                self.request_seconds,
                "Requests answered with 200: from the last byte of the request to the end of the answer.",
            ),
            (self.first_token_seconds, "From the last byte of a request to the first token of its answer."),
            (self.token_seconds, "Between two tokens of one answer."),
        ):
            lines += exposition.head(histogram.name, "histogram", text)
            lines += histogram.lines()
        lines += exposition.model_info(self._info)
        for name, kind, text, value in (
            ("headrace_requests_in_flight", "gauge", "Requests for text not answered yet.", self.in_flight),
            ("headrace_requests_running", "gauge", "Requests in the batch, read or written.", self.running),
            ("headrace_requests_waiting", "gauge", "Requests waiting for a place in the batch.", self.waiting),
            ("headrace_slots", "gauge", "Places in the batch.", self.slots),
            ("headrace_prompt_tokens_total", "counter", "Tokens of prompts.", self.prompt_tokens),
            ("headrace_answer_tokens_total", "counter", "Tokens of answers.", self.answer_tokens),
            ("headrace_ready", "gauge", "1 when the server takes requests.", int(self.ready)),
        ):
            lines += exposition.single(name, kind, text, value)
        lines += exposition.nonfinite_outputs(self.nonfinite_outputs)
        lines += exposition.incomplete_requests(self.incomplete_requests)
        lines += exposition.buffered_bytes(self.buffered_bytes)
        lines += exposition.process(self._started)
        return "\n".join(lines) + "\n"
