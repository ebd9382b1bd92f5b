"""What each of our servers counts, whatever it serves: its requests by status, and its own state.

All of it is written and read on the event loop. Names and words of the rest are each server's own metrics.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from headrace_serving import exposition
from headrace_serving.exposition import Histogram

Number = tuple[str, str, str, float]
"""A metric that is one number: its name, kind, help and value."""


class ServerMetrics:
    """`requests` is the name and the help of the counter of requests; `codes` are the statuses that it has from the
    start, so that the first failure is an increase from 0 and not a new series.
    """

    def __init__(self, info: Mapping[str, str], requests: tuple[str, str], codes: Iterable[int]) -> None:
        self._info = info
        self._started = time.time()
        self._name, self._help = requests
        self._requests = dict.fromkeys(codes, 0)
        self.in_flight = 0
        self.ready = False
        self.incomplete_requests = 0
        self.buffered_bytes = 0

    def count_request(self, code: int) -> None:
        self._requests[code] = self._requests.get(code, 0) + 1

    def rendered(
        self,
        histograms: Iterable[tuple[Histogram, str]],
        numbers: Iterable[Number],
        others: Iterable[str] = (),
    ) -> str:
        """Prometheus' text. Of each histogram its help; `others` are lines."""
        lines = list(exposition.head(self._name, "counter", self._help))
        lines += [
            exposition.sample(self._name, {"code": str(code)}, number)
            for code, number in sorted(self._requests.items())
        ]
        for histogram, text in histograms:
            lines += exposition.head(histogram.name, "histogram", text)
            lines += histogram.lines()
        lines += exposition.model_info(self._info)
        for name, kind, text, value in numbers:
            lines += exposition.single(name, kind, text, value)
        lines += others
        lines += exposition.incomplete_requests(self.incomplete_requests)
        lines += exposition.buffered_bytes(self.buffered_bytes)
        lines += exposition.process(self._started)
        return "\n".join(lines) + "\n"
