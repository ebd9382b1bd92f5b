"""`headrace_client.text`: what it reads beside the tokenizer, and what it tells at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import headrace_client
from headrace_client import _followed

TOKENIZER = json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "<end>": 1}, "merges": []}})


class Follower:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def text(self, *told: Any) -> None:
        self.told = list(told)


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> Follower:
    made = Follower()
    monkeypatch.setattr(_followed, "follower", made)
    return made


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(TOKENIZER)
    return path


def test_what_the_script_says_comes_before_what_lies_beside_the_tokenizer(follower: Follower, tokenizer: Path) -> None:
    beside = {"eos_token": "<other>", "bos_token": "a", "chat_template": "{{ messages }}"}
    tokenizer.with_name("tokenizer_config.json").write_text(json.dumps(beside))

    headrace_client.text("the model", tokenizer, eos="<end>", context=8)

    assert follower.told == ["the model", TOKENIZER, {**beside, "eos_token": "<end>"}, 8]


def test_outside_of_a_pod_nothing_happens(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_MESSAGES", raising=False)
    headrace_client.text(object(), tokenizer)


def test_a_job_of_another_framework_is_told(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MESSAGES", "/nobody-listens")
    with pytest.raises(RuntimeError, match="framework: Keras only"):
        headrace_client.text(object(), tokenizer)


@pytest.mark.parametrize(
    ("content", "arguments", "error", "message"),
    [
        (None, {}, FileNotFoundError, "there is no tokenizer .*: save it before this call"),
        ("{", {}, ValueError, "is not JSON"),
        ("[]", {}, ValueError, "is no object"),
        ("{}", {}, ValueError, "is no tokenizer.json: it has no `model`"),
        (TOKENIZER, {"eos": 1}, TypeError, "eos is a text, not a int"),
        (TOKENIZER, {"chat_template": b""}, TypeError, "chat_template is a text, not a bytes"),
        (TOKENIZER, {"context": "9"}, TypeError, "context is a number of tokens, not a str"),
        (TOKENIZER, {"context": True}, TypeError, "context is a number of tokens, not a bool"),
        (TOKENIZER, {"context": 1}, ValueError, "context 1: a text has at least 2 tokens"),
    ],
    ids=str,
)
def test_bad_arguments_are_told_at_once_also_outside_of_a_pod(
    tmp_path: Path, content: str | None, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=message):
        headrace_client.text(object(), path, **arguments)
