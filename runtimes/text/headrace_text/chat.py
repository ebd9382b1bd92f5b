"""A conversation becomes a prompt, by the model's own template (Jinja, as transformers has it), in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import Extension
from jinja2.nodes import Node, Scope
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headrace_serving.failures import Reason, RequestError, StartError
from headrace_text.folder import FOLDER

CONFIG_FILE = FOLDER / "tokenizer_config.json"
TEMPLATE_FILE = FOLDER / "chat_template.jinja"
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
_HINT = "Save the tokenizer again: its chat_template is a Jinja template, as transformers has it."

# What transformers gives each template, beside the messages and special tokens.
_GIVEN: Mapping[str, Any] = {"add_generation_prompt": True, "tools": None, "documents": None}

Message = Mapping[str, str]


class ChatTemplate:
    """May be used from any thread."""

    def __init__(self, template: Template, special: Mapping[str, str]) -> None:
        self._template = template
        self._special = special

    def prompt(self, messages: Sequence[Message]) -> str:
        """What the model gets, up to where its answer begins. Raises RequestError(400): the template takes them not."""
        try:
            return self._template.render(messages=messages, **_GIVEN, **self._special)
        except Exception as error:  # it is a program of somebody else, and raises what it likes
            raise RequestError(400, f"the model's chat template does not take these messages: {_why(error)}") from error


def load(model_dir: Path) -> ChatTemplate | None:
    """The template of the model in `model_dir`; None where it has none. Raises StartError."""
    path = model_dir / CONFIG_FILE
    config: Any = {}
    if path.is_file():
        try:
            config = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE} is not JSON: {error}.", _HINT) from error
    if not isinstance(config, dict):
        raise StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE} is no object.", _HINT)
    text = _text(config)
    beside = model_dir / TEMPLATE_FILE
    if beside.is_file():
        text = beside.read_text(encoding="utf-8", errors="replace")
    if text is None:
        return None
    try:
        return ChatTemplate(_environment().from_string(text), _special_tokens(config))
    except Exception as error:  # Jinja's own, and Python's for what it is translated to
        message = f"The chat template cannot be read: {_why(error)}."
        raise StartError(Reason.MODEL_CORRUPT, message, _HINT) from error


def _text(config: Mapping[str, Any]) -> str | None:
    """One template, or the one called `default` of a list."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise StartError(Reason.MODEL_CORRUPT, f"{CONFIG_FILE}: chat_template is no text.", _HINT)
    return found


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Each is a text, or an object with the text as its content."""
    found = {}
    for name in _SPECIAL:
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        found[name] = text if isinstance(text, str) else ""
    return found


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Answers]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return environment


class _Answers(Extension):
    """`{% generation %}` is around what the model wrote, for trainings: nothing of it is done here."""

    tags = {"generation"}  # noqa: RUF012 - so Jinja has it

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return Scope(body, lineno=line)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes what HTML has a meaning for."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
