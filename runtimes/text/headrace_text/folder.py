"""The folder of a decoder, laid out as onnxruntime-genai's: what its genai_config.json says, checked.

text/genai_config.json      names of the graph's inputs and outputs, lengths, tokens that end a text, defaults
text/model.onnx             the graph; another name where the config says so
text/tokenizer.json         as the package `tokenizers` writes it
text/tokenizer_config.json  chat template and special tokens, optional; the template may be in chat_template.jinja
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.formats import FILES, ModelFormat
from headrace_common.paths import why_unsafe
from headrace_serving.failures import Reason, StartError

CONFIG_FILE = Path(FILES[ModelFormat.TEXT])
FOLDER = CONFIG_FILE.parent
# Of the graph and of texts: nobody has more, and what is not a number of that size is a mistake.
_MOST = 2**31

_INPUTS = ("input_ids", "attention_mask", "position_ids", "past_key_names", "past_value_names")
_CACHE = (("inputs", "past_key_names"), ("inputs", "past_value_names"))
_CACHE_OUT = (("outputs", "present_key_names"), ("outputs", "present_value_names"))
_HINT = "Export the model again, with a genai_config.json as onnxruntime-genai's model builder writes it."
# What a config may ask for and this server does not do, with the value that asks for nothing.
_NOT_DONE: Mapping[str, float] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "min_length": 0,
}


@dataclass(frozen=True)
class CacheNames:
    """Of a graph with a KV cache; in each %d is the layer's number."""

    past_key: str
    past_value: str
    present_key: str
    present_value: str


@dataclass(frozen=True)
class Defaults:
    """How tokens are chosen where a request says nothing. `temperature` 0 is greedy, `top_k` 0 the whole vocabulary."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True)
class Config:
    """What genai_config.json says. `context` is in tokens; `cache` None: the graph has none, and reads the whole text
    at each step. `not_done` are the fields of `search` that are not followed.
    """

    graph: Path
    context: int
    vocabulary: int
    end_tokens: frozenset[int]
    pad_token: int
    layers: int
    input_ids: str
    attention_mask: str | None
    position_ids: str | None
    logits: str
    cache: CacheNames | None
    defaults: Defaults
    not_done: tuple[str, ...]


def read(model_dir: Path) -> Config:
    """The config of the model in `model_dir`. Raises StartError."""
    path = model_dir / CONFIG_FILE
    if not path.is_file():
        raise StartError(
            Reason.MODEL_NOT_FOUND,
            f"There is no {CONFIG_FILE} in {model_dir}.",
            "The loader puts it there: check its log, and that both containers mount the same volume.",
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE} is not JSON: {error}.", _HINT) from error
    model = _Fields(content, "").fields("model")
    decoder = model.fields("decoder")
    inputs, outputs = decoder.fields("inputs"), decoder.fields("outputs")
    cache = _cache(decoder)
    if unknown := sorted(set(inputs.names()) - set(_INPUTS)):
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"{CONFIG_FILE} has the input {unknown[0]!r}; known are {', '.join(_INPUTS)}.",
            "Export a decoder of tokens alone: images, audio and states other than keys and values are not served.",
        )
    vocabulary = model.whole("vocab_size")
    search = _Fields(content, "").fields("search", {})
    return Config(
        graph=_graph(model_dir, decoder.text("filename", "model.onnx")),
        context=model.whole("context_length"),
        vocabulary=vocabulary,
        end_tokens=frozenset(model.tokens("eos_token_id", vocabulary)),
        pad_token=model.pad("pad_token_id", vocabulary),
        layers=decoder.whole("num_hidden_layers") if cache else 0,
        input_ids=inputs.text("input_ids", "input_ids"),
        attention_mask=inputs.optional("attention_mask"),
        position_ids=inputs.optional("position_ids"),
        logits=outputs.text("logits", "logits"),
        cache=cache,
        defaults=_defaults(search),
        not_done=tuple(name for name, nothing in _NOT_DONE.items() if search.number(name, nothing) != nothing),
    )


def _cache(decoder: _Fields) -> CacheNames | None:
    names = [decoder.fields(part, {}).optional(name) for part, name in (*_CACHE, *_CACHE_OUT)]
    if not any(names[:2]):
        return None
    for name, (part, field) in zip(names, (*_CACHE, *_CACHE_OUT), strict=True):
        if name is None or name.count("%d") != 1:
            raise _wrong(f"model.decoder.{part}.{field}", "a name with %d for the layer", name)
    return CacheNames(*(str(name) for name in names))


def _defaults(search: _Fields) -> Defaults:
    """As onnxruntime-genai reads them: without do_sample the likeliest token is taken."""
    temperature = search.number("temperature", 1.0) if search.switch("do_sample") else 0.0
    return Defaults(temperature, int(search.number("top_k", 0)), search.number("top_p", 1.0))


def _graph(model_dir: Path, name: str) -> Path:
    if (problem := why_unsafe(name)) is not None:
        raise StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE}: model.decoder.filename {problem}: {name!r}.", _HINT)
    path = model_dir / FOLDER / name
    if not path.is_file():
        raise StartError(
            Reason.MODEL_INCOMPLETE,
            f"There is no {FOLDER / name}, which {CONFIG_FILE} names.",
            "Add the whole folder of the model: graph, its weights and the tokenizer beside genai_config.json.",
        )
    return path


def _wrong(where: str, what: str, value: Any) -> StartError:
    said = "is missing" if value is None else f"is {json.dumps(value)[:80]}"
    return StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE}: {where} must be {what}; it {said}.", _HINT)


class _Fields:
    """An object of the config, in which null is as good as absent; each getter raises StartError, which names the
    field.
    """

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise _wrong(where or "the file", "an object", content)
        self._content = {name: value for name, value in content.items() if value is not None}
        self._where = f"{where}." if where else ""

    def names(self) -> list[str]:
        return list(self._content)

    def fields(self, name: str, default: Any = None) -> _Fields:
        return _Fields(self._content.get(name, default), f"{self._where}{name}")

    def text(self, name: str, default: str) -> str:
        value = self._content.get(name, default)
        if not isinstance(value, str) or not value:
            raise _wrong(f"{self._where}{name}", "a text", value)
        return value

    def optional(self, name: str) -> str | None:
        return self.text(name, "") if name in self._content else None

    def whole(self, name: str) -> int:
        value = self._content.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _MOST:
            raise _wrong(f"{self._where}{name}", "a whole number above 0", value)
        return value

    def number(self, name: str, default: float) -> float:
        value = self._content.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
            raise _wrong(f"{self._where}{name}", "a number from 0", value)
        return value

    def switch(self, name: str) -> bool:
        value = self._content.get(name, False)
        if not isinstance(value, bool):
            raise _wrong(f"{self._where}{name}", "true or false", value)
        return value

    def tokens(self, name: str, vocabulary: int) -> tuple[int, ...]:
        """One number, a list, or none of them."""
        listed = self._listed(name)
        if not all(_is_token(each, vocabulary) for each in listed):
            words = f"a token from 0 to {vocabulary - 1}, or a list"
            raise _wrong(f"{self._where}{name}", words, self._content[name])
        return tuple(listed)

    def pad(self, name: str, vocabulary: int) -> int:
        """What fills texts up; 0 where there is no such token, which some configs say with -1."""
        return next((each for each in self._listed(name) if _is_token(each, vocabulary)), 0)

    def _listed(self, name: str) -> list[Any]:
        value = self._content.get(name, [])
        return value if isinstance(value, list) else [value]


def _is_token(value: Any, vocabulary: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < vocabulary
