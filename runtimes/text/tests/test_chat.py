"""Conversations by templates that somebody else has written."""

from __future__ import annotations

import json

import pytest

from headrace_serving.failures import Reason, RequestError, StartError
from headrace_text import chat

ESCAPED = r'{"a":"\u00e9","b":1}'
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.fixture
def template(tmp_path):
    def load(text, **config):
        (tmp_path / "text").mkdir(exist_ok=True)
        (tmp_path / "text" / "tokenizer_config.json").write_text(json.dumps({"chat_template": text, **config}))
        return chat.load(tmp_path)

    return load


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for m in messages %}{{ m.role }}:{{ m['content'] }};{% endfor %}", "user:a;assistant:b;"),
        ("{{ bos_token }}{{ messages | length }}{{ eos_token }}", "<s>2</s>"),
        ("{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}", "a\n"),
        ("{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}", "a"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "a"}'),
        ("{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}", ESCAPED),
        ("{{ {'b': 1} | tojson(indent=1) }}", '{\n "b": 1\n}'),
        ("{{ tools is none }}{{ documents is none }}{{ tools is defined }}", "TrueTrueTrue"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "a!"),
        ("{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}{{ x }}", "1"),
        ("{% if add_generation_prompt %}go{% endif %}{% if tools %}no{% endif %}", "go"),
        ([{"name": "other", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
    ],
    ids=str,
)
def test_a_template_is_what_it_is_for_transformers(template, text, expected):
    found = template(text, bos_token="<s>", eos_token={"content": "</s>", "lstrip": False})
    assert found.prompt(MESSAGES) == expected


def test_a_template_beside_the_config_is_the_one(template, tmp_path):
    template("old")
    (tmp_path / "text" / "chat_template.jinja").write_text("new")
    assert chat.load(tmp_path).prompt(MESSAGES) == "new"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "safe"),
        ("{{ messages[0].content + 1 }}", "the model's chat template does not take these messages"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 'x' * 100000000000000 }}", "MemoryError"),
        ("{{ 10.0 ** 10000 }}", "out of range"),
    ],
    ids=str,
)
def test_messages_that_a_template_refuses_and_what_it_must_not_do_are_a_400(template, text, words):
    with pytest.raises(RequestError) as refused:
        template(text).prompt(MESSAGES)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize("text", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{{ 'x' * }}"], ids=["deep", "none"])
def test_a_template_that_cannot_be_read_ends_the_start_with_a_hint(template, text):
    with pytest.raises(StartError) as refused:
        template(text)
    assert (refused.value.reason, bool(refused.value.hint)) == (Reason.MODEL_CORRUPT, True)


@pytest.mark.parametrize(
    "config", [{}, {"chat_template": None}, {"chat_template": [{"name": "tool_use", "template": "x"}]}]
)
def test_a_model_without_a_template_has_none(tmp_path, config):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tokenizer_config.json").write_text(json.dumps(config))
    assert chat.load(tmp_path) is None
