"""The bodies of the Open Inference Protocol's generate and generate_stream.

Protocol: https://github.com/kserve/open-inference-protocol, specification/protocol/generate_rest.yaml
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from headrace_serving.failures import RequestError
from headrace_text.generation import End
from headrace_text.openai import Usage
from headrace_text.parameters import Fields

DEFAULT_TOKENS = 20
# Of the protocol, for what is 400 elsewhere.
INVALID = 422


@dataclass(frozen=True)
class Form:
    """The shape of one answer."""

    model: str
    version: str

    def whole(self, text: str, end: End, usage: Usage) -> bytes:
        details = {"finish_reason": end, **usage.as_json()}
        return orjson.dumps({**self._head(text), "details": details})

    def first(self) -> Iterator[bytes]:
        return iter(())

    def piece(self, text: str, end: End | None) -> Iterator[bytes]:
        if end is not None:
            yield self._event({**self._head(text), "done": True, "details": {"finish_reason": end}})
        elif text:
            yield self._event({**self._head(text), "done": False})

    def last(self, usage: Usage) -> Iterator[bytes]:
        return iter(())

    def failed(self, error: RequestError) -> Iterator[bytes]:
        yield self._event({"error": error.message})

    def _head(self, text: str) -> dict[str, Any]:
        return {"model_name": self.model, "model_version": self.version, "text_output": text}

    def _event(self, content: dict[str, Any]) -> bytes:
        return b"data: " + orjson.dumps(content) + b"\n\n"


def prompt(fields: Fields) -> str:
    """Raises ParameterError."""
    text = fields.text("text_input")
    if text is None:
        raise fields.wrong("text_input", "is missing")
    return text
