"""OpenAI's own client, and bodies that it would not send."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import shutil
from types import SimpleNamespace

import openai
import pytest
import text_models
from aiohttp.test_utils import make_mocked_request
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from headrace_serving.gate import Gate
from headrace_text import settings
from headrace_text.service import Service

TOKENS = text_models.tokenizer()


def test_the_likeliest_text_is_that_of_the_graph_without_a_cache_by_hand(server, by_hand):
    prompt = "Hello wörld"
    tokens = by_hand(TOKENS.encode(prompt).ids, 30)
    end = TOKENS.token_to_id("<|end|>")
    expected = TOKENS.decode(tokens[: tokens.index(end)] if end in tokens else tokens)

    found = server.client.completions.create(model="m", prompt=prompt, max_tokens=30)

    assert found.choices[0].text.rstrip("\ufffd") == expected.rstrip("\ufffd")
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (12, 30)
    assert (found.choices[0].finish_reason, found.object, found.model) == ("length", "text_completion", "m")


def test_a_stream_has_the_pieces_of_the_same_text_and_its_usage(server):
    asked = {"model": "m", "prompt": "abc", "max_tokens": 30, "temperature": 1.0, "seed": 4}
    whole = server.client.completions.create(**asked)
    events = list(server.client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))

    *pieces, last = events
    assert "".join(event.choices[0].text for event in pieces) == whole.choices[0].text
    assert len(pieces) > 3
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (last.choices, last.usage) == ([], whole.usage)
    assert len({event.id for event in events}) == 1


def test_a_conversation_is_asked_as_the_models_template_has_it(server):
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    asked = {"model": "m", "messages": messages, "max_completion_tokens": 20}
    whole = server.client.chat.completions.create(**asked)
    events = list(server.client.chat.completions.create(**asked, stream=True))

    prompt = "<|user|>hi<|assistant|>ho<|user|>ab<|assistant|>"
    assert whole.choices[0].message.content == server.text(prompt, max_tokens=20)
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(event.choices[0].delta.content or "" for event in events) == whole.choices[0].message.content
    assert events[-1].choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.fixture
def words_model(cached_model, tmp_path):
    """Its tokens are words, with the space in front of each, as SentencePiece has them."""
    words = {f"▁w{number}": number for number in range(text_models.VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="▁w0"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    folder = tmp_path / "words"
    shutil.copytree(cached_model, folder)
    made.save(str(folder / "text" / "tokenizer.json"))
    (folder / "text" / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}"}))
    return folder


def test_an_answer_goes_on_with_a_prompt_and_a_conversations_is_a_text_of_its_own(servers, words_model):
    server = servers.start(words_model)
    asked = {"max_tokens": 2, "temperature": 0}
    completed = server.text([5], **asked)
    generated = server.post("/v2/models/m/generate", {"text_input": "w5", "parameters": asked}).json["text_output"]
    messages = [{"role": "user", "content": "w5"}]
    chatted = server.post("/v1/chat/completions", {"messages": messages, **asked}).json["choices"][0]["message"]

    assert re.fullmatch(r" w\d+ w\d+", completed)
    assert generated == completed
    assert chatted["content"] == completed.removeprefix(" ")


def test_a_conversation_without_a_number_goes_on_to_the_end_of_the_context(server):
    found = server.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert found.choices[0].finish_reason in ("stop", "length")
    if found.choices[0].finish_reason == "length":
        assert found.usage.total_tokens == text_models.CONTEXT


def test_a_seed_draws_the_same_text_each_time(server):
    def text(seed):
        return server.text("abc", temperature=1.5, top_p=0.9, top_k=100, seed=seed, max_tokens=30)

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("as_list", [False, True])
def test_an_answer_ends_before_a_stop_text(server, as_list):
    whole = server.text("Hello", max_tokens=40)
    places = [place for place in range(4, len(whole) - 2) if "\ufffd" not in whole[place : place + 2]]
    stop = whole[places[0] : places[0] + 2]

    reply = server.complete("Hello", max_tokens=40, stop=[stop, "\u2603\u2603"] if as_list else stop)

    assert reply.json["choices"][0]["text"] == whole[: whole.index(stop)]
    assert reply.json["choices"][0]["finish_reason"] == "stop"


def test_a_prompt_may_be_tokens(server):
    ids = TOKENS.encode("Hello").ids
    assert server.text(ids) == server.text([ids]) == server.text(["Hello"]) == server.text("Hello")


def test_the_models_are_listed(server):
    [model] = server.client.models.list()
    assert (model.id, model.max_model_len, model.kv_cache) == ("m", text_models.CONTEXT, True)
    assert server.client.models.retrieve("m").id == "m"


def test_a_graph_without_a_cache_writes_the_same_texts_and_says_what_it_is(servers, uncached_model, server):
    slow = servers.start(uncached_model)
    assert slow.get("/v1/models").json["data"][0]["kv_cache"] is False
    assert "no KV cache" in slow.log.read_text()
    for prompt in ("Hello", "wörld", "abc"):
        assert slow.text(prompt, max_tokens=30) == server.text(prompt, max_tokens=30)


# --- refusals ---------------------------------------------------------------------------------------------------------

LONG = "a" * (text_models.CONTEXT + 9)
REFUSED = {
    "no prompt": ({}, "prompt", "must be a text"),
    "several prompts": ({"prompt": ["a", "b"]}, "prompt", "there are 2"),
    "a token that is none": ({"prompt": [1, 9999]}, "prompt", "must have tokens from 0 to"),
    "tokens that are none": ({"prompt": [1, True]}, "prompt", "must have tokens from 0 to"),
    "temperature is a text": ({"temperature": "hot"}, "temperature", 'must be a number, not "hot"'),
    "temperature is a switch": ({"temperature": True}, "temperature", "must be a number, not true"),
    "temperature is large": ({"temperature": 3}, "temperature", "must be from 0 to 2; it is 3"),
    "top_p": ({"top_p": 2}, "top_p", "must be from 0 to 1"),
    "top_k": ({"top_k": 1.5}, "top_k", "must be a whole number"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens", "must be from 1"),
    "max_tokens is a text": ({"max_tokens": "5"}, "max_tokens", "must be a whole number"),
    "seed": ({"seed": "x"}, "seed", "must be a whole number"),
    "stop is a number": ({"stop": 3}, "stop", "must be a text or a list of texts"),
    "stop is empty": ({"stop": ""}, "stop", "must be texts of 1 to"),
    "too many stops": ({"stop": ["a"] * 17}, "stop", "at most 16"),
    "stream": ({"stream": 1}, "stream", "must be true or false"),
    "stream_options": ({"stream_options": []}, "stream_options", "must be an object"),
    "usage": ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "must be true or false"),
    "n": ({"n": 2}, "n", "is not supported"),
    "echo": ({"echo": True}, "echo", "is not supported"),
    "logprobs": ({"logprobs": 3}, "logprobs", "is not supported"),
    "penalty": ({"presence_penalty": 0.5}, "presence_penalty", "is not supported"),
}


@pytest.mark.parametrize(("body", "name", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_a_400_that_names_its_field(server, body, name, words):
    reply = server.predict({"prompt": "a", **body} if name != "prompt" else body)

    error = reply.json["error"]
    assert reply.status == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (name, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "no JSON object"),
        (b"\xff", "not JSON"),
        (json.dumps({"prompt": ""}).encode(), "the prompt is empty"),
        (json.dumps({"prompt": []}).encode(), "prompt must be"),
    ],
)
def test_a_body_that_is_none_is_refused(server, body, words):
    reply = server.predict(body)
    assert (reply.status, words in reply.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize("size", [text_models.CONTEXT, 20_000, 3_000_000])
def test_a_prompt_that_is_longer_than_the_context_is_told_both_numbers(server, size):
    reply = server.complete("a" * size)
    assert (reply.status, reply.json["error"]["code"]) == (400, "context_length_exceeded")
    message = reply.json["error"]["message"]
    assert f"the prompt has {size} " in message
    assert f"the model's context is {text_models.CONTEXT} tokens" in message


def test_fields_that_nobody_knows_change_nothing(server):
    more = {"user": "me", "store": False, "x_mine": {"a": [1]}, "n": 1, "echo": False, "logprobs": None}
    assert server.text("abc", **more) == server.text("abc")


NO_MESSAGES = (
    *(None, [], "hi", ["hi"], [{"content": "a"}], [{"role": "user"}]),
    [{"role": "user", "content": [{"type": "image"}]}],
)


@pytest.mark.parametrize("messages", NO_MESSAGES, ids=str)
def test_messages_that_are_none_are_refused(server, messages):
    reply = server.post("/v1/chat/completions", {"messages": messages})
    assert reply.status == 400
    assert reply.json["error"]["param"].startswith("messages")


def test_another_model_another_path_and_another_method_are_told_in_openais_form(server):
    with pytest.raises(openai.NotFoundError, match="the model is 'm'"):
        server.client.completions.create(model="other", prompt="a")
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405)):
        reply = server.call(method, path)
        assert (reply.status, reply.json["error"]["type"]) == (status, "invalid_request_error")


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def test_a_template_that_comes_to_no_end_is_given_up_with_504_and_holds_up_no_probe(servers, cached_model, tmp_path):
    folder = tmp_path / "endless"
    shutil.copytree(cached_model, folder)
    (folder / "text" / "tokenizer_config.json").write_text(json.dumps({"chat_template": ENDLESS}))
    server = servers.start(folder, "--request-timeout", "3")
    reply = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]})

    assert (reply.status, reply.json["error"]["type"]) == (504, "server_error")
    assert "the prompt was not read within 3 s" in reply.json["error"]["message"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v1/models"):  # while it goes on
        assert server.get(path).status == 200
    server.stop()


def test_a_stream_that_is_not_done_at_the_end_of_the_grace_gets_the_error_as_an_event(servers, long_model):
    server = servers.start(long_model, "--grace-seconds", "0.1", "--request-timeout", "600")
    asked = {"model": "m", "prompt": "abc", "max_tokens": 19_000, "temperature": 1.0, "seed": 1}
    events = iter(server.client.completions.create(**asked, stream=True))
    next(events)

    assert server.stop() == 1
    with pytest.raises(openai.APIError, match="the server ends"):
        list(events)


def test_a_fault_of_the_server_is_told_in_openais_form():
    def broken():
        raise ZeroDivisionError

    texts = SimpleNamespace(require_model=broken, require_ready=broken, require_alive=broken)
    service = Service(settings.parse(["--model-dir", "/x", "--model-name", "m"]), texts, Gate(1))
    answer = asyncio.run(service.handle(make_mocked_request("GET", "/v1/models")))
    assert (answer.status, json.loads(answer.body)["error"]["type"]) == (500, "server_error")


def test_a_packed_body_is_taken(server):
    body = gzip.compress(json.dumps({"prompt": "abc"}).encode())
    assert server.predict(body, {"Content-Encoding": "gzip"}).json["choices"][0]["text"] == server.text("abc")
