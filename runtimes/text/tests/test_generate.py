"""The Open Inference Protocol: health, metadata, generate and generate_stream."""

from __future__ import annotations

import json

import pytest


def events(reply):
    return [json.loads(event.removeprefix("data: ")) for event in reply.body.decode().split("\n\n") if event]


@pytest.mark.parametrize("base", ["/v2/models/m", "/v2/models/m/versions/7"])
def test_generate_answers_with_the_text(server, base):
    reply = server.post(f"{base}/generate", {"text_input": "abc", "parameters": {"max_tokens": 25}})

    assert reply.json["text_output"] == server.text("abc", max_tokens=25)
    assert (reply.json["model_name"], reply.json["model_version"]) == ("m", "7")
    assert reply.json["details"]["completion_tokens"] == 25


def test_generate_stream_has_the_pieces_of_the_same_text(server):
    asked = {"text_input": "abc", "parameters": {"max_tokens": 25, "temperature": 1.0, "seed": 3}}
    whole = server.post("/v2/models/m/generate", asked).json["text_output"]
    reply = server.post("/v2/models/m/generate_stream", asked)
    found = events(reply)

    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert "".join(event["text_output"] for event in found) == whole
    assert [event["done"] for event in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "text_input is missing"),
        ({"text_input": 3}, "text_input must be a text"),
        ({"text_input": "a", "parameters": 3}, "parameters must be an object"),
        ({"text_input": "a", "parameters": {"max_tokens": "x"}}, "parameters.max_tokens must be a whole number"),
        ({"text_input": "a" * 200}, "200 tokens"),
    ],
    ids=str,
)
def test_what_is_wrong_is_a_422_as_the_protocol_has_it(server, path, body, words):
    reply = server.post(f"/v2/models/m/{path}", body)
    assert (reply.status, reply.json.keys()) == (422, {"error"})
    assert words in reply.json["error"]


def test_health_and_metadata_are_the_protocols(server):
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/7/ready"):
        assert server.get(path).status == 200
    metadata = server.get("/v2/models/m").json
    assert (metadata["name"], metadata["versions"]) == ("m", ["7"])
    assert [one["name"] for one in (*metadata["inputs"], *metadata["outputs"])] == ["text_input", "text_output"]


def test_another_model_is_a_404_in_the_protocols_form(server):
    reply = server.post("/v2/models/other/generate", {"text_input": "a"})
    assert (reply.status, reply.json.keys()) == (404, {"error"})
