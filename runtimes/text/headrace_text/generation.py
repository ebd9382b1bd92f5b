"""One text that is being written: its tokens, how the next is chosen, and what of it may be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from headrace_serving.failures import RequestError
from headrace_text.sampling import Logits, Sampler
from headrace_text.stops import Stops
from headrace_text.tokens import Decoding


class End(StrEnum):
    """Why a text ends: the model or a stop text said so, or there is no room for more."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class News:
    """What one token has brought. `seconds` since the one before, or since the request was there. `error` instead of a
    token: the text cannot go on.
    """

    text: str
    seconds: float
    tokens: int
    end: End | None = None
    error: RequestError | None = None


class Generation:
    """Made on the event loop, and then used by the thread that steps. `is_cancelled` may be set from anywhere. `since`
    is the time (time.perf_counter) at which the request was there; None: now.
    """

    def __init__(
        self,
        prompt: list[int],
        most: int,
        sampler: Sampler,
        decoding: Decoding,
        stops: Stops,
        tell: Callable[[News], None],
        since: float | None = None,
    ) -> None:
        self.prompt_tokens = len(prompt)
        self.tokens = list(prompt)
        self.is_cancelled = False
        self.tell = tell
        self._most = most
        self._sampler = sampler
        self._decoding = decoding
        self._stops = stops
        self._last = time.perf_counter() if since is None else since

    @property
    def answered(self) -> int:
        """Tokens of the answer."""
        return len(self.tokens) - self.prompt_tokens

    def take(self, logits: Logits, end_tokens: frozenset[int], context: int) -> News:
        """The next token, and what it brings."""
        token = self._sampler.pick(logits)
        self.tokens.append(token)
        if token in end_tokens:
            return self._news(self._stops.rest(), End.STOP)
        text, is_stopped = self._stops.push(self._decoding.step(token))
        if is_stopped:
            return self._news(text, End.STOP)
        if self.answered >= self._most or len(self.tokens) >= context:
            return self._news(text + self._stops.rest(), End.LENGTH)
        return self._news(text, None)

    def fail(self, error: RequestError) -> News:
        return News("", 0.0, self.answered, error=error)

    def _news(self, text: str, end: End | None) -> News:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return News(text, seconds, self.answered, end)
