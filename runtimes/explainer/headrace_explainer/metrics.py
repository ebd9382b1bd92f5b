"""What is counted, in Prometheus' text format. The names are not those of inferences: no rollout is judged by them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram

SECONDS_BOUNDS = exposition.bounds(0.00025)

# Present from the start, so that the first failure is an increase from 0 and not a new series.
INITIAL_CODES = (200, 400, 429, 500, 503, 504)


class Metrics:
    """The counters of one explainer; written and read on the event loop."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self._info = info
        self._started = time.time()
        self._requests = dict.fromkeys(INITIAL_CODES, 0)
        self.in_flight = 0
        self.ready = False
        self.evaluations = 0
        self.incomplete = 0
        self.incomplete_requests = 0
        self.buffered_bytes = 0
        self.seconds = Histogram("headrace_explanation_duration_seconds", SECONDS_BOUNDS)

    def count_request(self, code: int) -> None:
        self._requests[code] = self._requests.get(code, 0) + 1

    def render(self) -> str:
        name = "headrace_explanation_requests_total"
        lines = list(exposition.head(name, "counter", "Requests for explanations by HTTP status."))
        lines += [exposition.sample(name, {"code": str(code)}, n) for code, n in sorted(self._requests.items())]
        lines += exposition.head(
            self.seconds.name, "histogram", "Requests answered with 200: from the last byte to the finished answer."
        )
        lines += self.seconds.lines()
        lines += exposition.model_info(self._info)
        for name, kind, text, value in (
            ("headrace_explanation_rows_total", "counter", "Rows that the model was asked.", self.evaluations),
            ("headrace_explanations_incomplete_total", "counter", "Answers that time ran out for.", self.incomplete),
            ("headrace_explanations_in_flight", "gauge", "Requests not answered yet.", self.in_flight),
            ("headrace_ready", "gauge", "1 when the explainer takes requests.", int(self.ready)),
        ):
            lines += exposition.single(name, kind, text, value)
        lines += exposition.incomplete_requests(self.incomplete_requests)
        lines += exposition.buffered_bytes(self.buffered_bytes)
        lines += exposition.process(self._started)
        return "\n".join(lines) + "\n"
