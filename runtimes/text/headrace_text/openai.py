"""The bodies of OpenAI's API, as its clients send and read them: completions, chat completions, models, errors.

Protocol: https://platform.openai.com/docs/api-reference. What of it is not done is refused where it would change the
answer; fields that are not known are ignored.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from headrace_serving.answers import error_answer as plain_error_answer
from headrace_serving.failures import RequestError
from headrace_text.generation import End
from headrace_text.parameters import Fields, ParameterError

# As OpenAI's API has it, where a request for a completion gives no number.
DEFAULT_TOKENS = 16
DONE = b"data: [DONE]\n\n"

Prompt = str | list[int]

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "logprobs": (None, False, 0),
    "top_logprobs": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
}
"""Fields that would change the answer, and the values that change nothing."""


class UnknownModelError(RequestError):
    def __init__(self, asked: str, own: str) -> None:
        super().__init__(404, f"there is no model {asked!r} here; the model is {own!r}")


class TooLongError(RequestError):
    """A prompt that the model's context has no room for."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


@dataclass(frozen=True)
class Usage:
    prompt: int
    answer: int

    def as_json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.answer,
            "total_tokens": self.prompt + self.answer,
        }


@dataclass(frozen=True)
class Form:
    """The shape of one answer. `is_chat` has messages where the other has texts."""

    model: str
    is_chat: bool
    with_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, text: str, end: End, usage: Usage) -> bytes:
        content: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, "refusal": None}} if self.is_chat else {"text": text}
        )
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": end}
        return orjson.dumps({**self._head(is_chunk=False), "choices": [choice], "usage": usage.as_json()})

    def first(self) -> Iterator[bytes]:
        """What a stream begins with."""
        if self.is_chat:
            yield self._event([self._choice({"role": "assistant", "content": ""}, None)])

    def piece(self, text: str, end: End | None) -> Iterator[bytes]:
        if self.is_chat:
            if text:
                yield self._event([self._choice({"content": text}, None)])
            if end is not None:
                yield self._event([self._choice({}, end)])
        elif text or end is not None:
            yield self._event([{"index": 0, "text": text, "logprobs": None, "finish_reason": end}])

    def last(self, usage: Usage) -> Iterator[bytes]:
        """What a stream ends with."""
        if self.with_usage:
            yield self._event([], usage)
        yield DONE

    def failed(self, error: RequestError) -> Iterator[bytes]:
        """Of an answer that has begun."""
        yield _event(error_body(error))
        yield DONE

    def _choice(self, delta: Mapping[str, str], end: End | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}

    def _event(self, choices: list[dict[str, Any]], usage: Usage | None = None) -> bytes:
        content = {**self._head(is_chunk=True), "choices": choices}
        if self.with_usage:
            content["usage"] = usage.as_json() if usage is not None else None
        return _event(content)

    def _head(self, *, is_chunk: bool) -> dict[str, Any]:
        if self.is_chat:
            name, kind = f"chatcmpl-{self.id}", "chat.completion.chunk" if is_chunk else "chat.completion"
        else:
            name, kind = f"cmpl-{self.id}", "text_completion"
        return {"id": name, "object": kind, "created": self.created, "model": self.model}


def form(fields: Fields, model: str, *, is_chat: bool) -> Form:
    """Raises ParameterError, UnknownModelError."""
    asked = fields.text("model")
    if asked not in (None, model):
        raise UnknownModelError(asked or "", model)
    for name, harmless in _REFUSED.items():
        value = fields.get(name)
        if not any(type(value) is type(one) and value == one for one in (*harmless, *map(_as_float, harmless))):
            raise fields.wrong(name, "is not supported by this server: leave it out")
    return Form(model, is_chat, fields.fields("stream_options").switch("include_usage"))


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int else value


def prompt(fields: Fields, vocabulary: int) -> Prompt:
    """Text, or tokens. Raises ParameterError."""
    value = fields.get("prompt")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise fields.wrong("prompt", "must be a text, or a list of tokens")
    if any(isinstance(one, str | list) for one in value):
        raise fields.wrong("prompt", f"must be one; there are {len(value)}: send a request for each")
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocabulary:
            raise fields.wrong("prompt", f"must have tokens from 0 to {vocabulary - 1}")
    return value


def messages(fields: Fields) -> list[dict[str, str]]:
    """Each with its role and its content as one text. Raises ParameterError."""
    value = fields.get("messages")
    if not isinstance(value, list) or not value:
        raise fields.wrong("messages", "must be a list of messages, with one at least")
    return [_message(one, f"messages[{number}].") for number, one in enumerate(value)]


def _message(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ParameterError(where.rstrip("."), "must be an object")
    fields = Fields(value, where)
    role = fields.text("role")
    if not role:
        raise fields.wrong("role", "is missing")
    content = fields.get("content")
    if isinstance(content, list):
        content = "".join(_part(one, f"{where}content[{number}].") for number, one in enumerate(content))
    if not isinstance(content, str):
        raise fields.wrong("content", "must be a text, or a list of parts of type text")
    return {"role": role, "content": content}


def _part(value: Any, where: str) -> str:
    fields = Fields(value if isinstance(value, dict) else {}, where)
    text = fields.text("text")
    if fields.text("type") != "text" or text is None:
        raise fields.wrong("type", "must be text, with the text as its text")
    return text


def model(name: str, created: int, context: int, *, has_cache: bool) -> dict[str, Any]:
    """`max_model_len` is a field of vLLM's; `kv_cache` is ours: without one the whole text is read for each token."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "headrace",
        "max_model_len": context,
        "kv_cache": has_cache,
    }


def error_body(error: RequestError) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    code = None
    if error.status == 429:
        kind = code = "rate_limit_exceeded"
    elif isinstance(error, UnknownModelError):
        code = "model_not_found"
    elif isinstance(error, TooLongError):
        code = "context_length_exceeded"
    name = error.name if isinstance(error, ParameterError) else None
    return {"error": {"message": error.message, "type": kind, "param": name, "code": code}}


def error_answer(error: RequestError) -> web.Response:
    """As any other, in OpenAI's form."""
    answer = plain_error_answer(error)
    answer.body = orjson.dumps(error_body(error))
    return answer


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"
