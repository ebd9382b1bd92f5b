"""The fields of a request for text, each with its bounds: a wrong one is refused by its name, others are ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from headrace_serving.failures import RequestError, shortened
from headrace_text.folder import Defaults
from headrace_text.sampling import Sampling

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1000


class ParameterError(RequestError):
    """`name` is the field's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(400, f"{name} {message}")
        self.name = name


@dataclass(frozen=True)
class Wanted:
    """How an answer is to be written. `most` is its length in tokens; None: as long as there is room."""

    sampling: Sampling
    stops: tuple[str, ...]
    most: int | None


def decoded(body: bytes) -> Fields:
    """The fields of a body. Raises RequestError(400)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, "the body is no JSON object")
    return Fields(value)


class Fields:
    """An object of JSON; each getter raises ParameterError. What is null is not there."""

    def __init__(self, content: Mapping[str, Any], where: str = "") -> None:
        self._content = content
        self._where = where

    def get(self, name: str) -> Any:
        return self._content.get(name)

    def wrong(self, name: str, message: str) -> ParameterError:
        return ParameterError(f"{self._where}{name}", message)

    def text(self, name: str) -> str | None:
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, f"must be a text, not {_kind(value)}")
        return value

    def switch(self, name: str) -> bool:
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, f"must be true or false, not {_kind(value)}")
        return bool(value)

    def whole(self, name: str, least: int, most: int) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, f"must be a whole number, not {_kind(value)}")
        if not least <= value <= most:
            raise self.wrong(name, f"must be from {least} to {most}; it is {value}")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, f"must be a number, not {_kind(value)}")
        if not math.isfinite(value) or not least <= value <= most:
            raise self.wrong(name, f"must be from {least:g} to {most:g}; it is {value}")
        return float(value)

    def fields(self, name: str) -> Fields:
        value = self.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, f"must be an object, not {_kind(value)}")
        return Fields(value or {}, f"{self._where}{name}.")

    def texts(self, name: str) -> tuple[str, ...]:
        """One, or a list of some."""
        value = self.get(name)
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if len(listed) > MAX_STOPS:
            raise self.wrong(name, f"must be at most {MAX_STOPS} texts")
        for text in listed:
            if not isinstance(text, str):
                raise self.wrong(name, f"must be a text or a list of texts, not {_kind(text)}")
            if not 0 < len(text) <= MAX_STOP_CHARACTERS:
                raise self.wrong(name, f"must be texts of 1 to {MAX_STOP_CHARACTERS} characters")
        return tuple(listed)


def wanted(fields: Fields, defaults: Defaults, most: int | None) -> Wanted:
    """`most` is the length where the request gives none. Who says how to draw is drawn for. Raises ParameterError."""
    temperature = fields.number("temperature", 0, 2)
    top_p = fields.number("top_p", 0, 1)
    top_k = fields.whole("top_k", -1, 2**31)
    if temperature is None:
        draws = bool((top_p is not None and top_p < 1) or (top_k is not None and top_k > 1))
        temperature = (defaults.temperature or 1.0) if draws else defaults.temperature
    sampling = Sampling(
        temperature=temperature,
        top_k=defaults.top_k if top_k is None else max(0, top_k),
        top_p=defaults.top_p if top_p is None else top_p,
        seed=fields.whole("seed", -(2**63), 2**63 - 1),
    )
    asked = [fields.whole(name, 1, 2**31) for name in ("max_completion_tokens", "max_tokens")]
    most = next((number for number in asked if number is not None), most)
    return Wanted(sampling, fields.texts("stop"), most)


def _kind(value: Any) -> str:
    """JSON's word for it, and the value where it is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None:
        return "null"
    return shortened(orjson.dumps(value).decode(), 40)
