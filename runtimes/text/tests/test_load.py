"""Many requests at once, clients that go away, a queue that is full, and the end under load."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_support import PATIENCE_SECONDS, PATIENT
from text_waiting import LONGEST, until


def counted(server, code):
    return server.metrics()[f'headrace_requests_total{{code="{code}"}}']


def stream(server, **fields):
    """A text that is written for as long as somebody reads it, from its first event on."""
    found = server.client.completions.create(
        model="m", prompt="abc", stream=True, max_tokens=LONGEST, temperature=1.0, seed=1, **fields
    )
    next(iter(found))
    return found


def test_each_of_200_requests_at_once_gets_the_text_that_it_gets_alone(servers, cached_model):
    server = servers.start(cached_model, *PATIENT, "--max-batch", "8", "--max-queue", "400", "--prompt-piece", "16")
    asked = [
        {"prompt": "ab" * (number % 40 + 1), "max_tokens": number % 12 + 1, "seed": number, "temperature": number % 3}
        for number in range(50)
    ]
    alone = [server.text(**one) for one in asked]

    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda one: server.text(**one), asked * 4))

    assert together == alone * 4


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_goes_away_frees_its_slot_for_who_waits(servers, long_model, is_streamed):
    server = servers.start(long_model, *PATIENT, "--max-batch", "1", "--max-queue", "1")
    body = json.dumps({"prompt": "abc", "max_tokens": LONGEST, "stream": is_streamed}).encode()
    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: server.metrics()["headrace_requests_running"] == 1)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.complete, "abc", max_tokens=2)
            until(lambda: server.metrics()["headrace_requests_waiting"] == 1)

            refused = server.complete("abc", max_tokens=2)
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
            assert refused.json["error"]["code"] == "rate_limit_exceeded"

            client.close()
            assert waiting.result(PATIENCE_SECONDS).status == 200
    until(lambda: counted(server, 499) == 1)
    assert (counted(server, 200), counted(server, 429), counted(server, 500)) == (1, 1, 0)
    until(lambda: server.metrics()["headrace_requests_running"] == 0)


def test_who_waits_and_goes_away_gives_its_place_in_the_queue_back(servers, long_model):
    server = servers.start(long_model, *PATIENT, "--max-batch", "1", "--max-queue", "1")
    first = stream(server)
    body = json.dumps({"prompt": "abc"}).encode()
    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: server.metrics()["headrace_requests_waiting"] == 1)
    until(lambda: server.metrics()["headrace_requests_waiting"] == 0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.complete, "abc", max_tokens=2)
        until(lambda: server.metrics()["headrace_requests_waiting"] == 1)
        first.close()
        assert waiting.result(PATIENCE_SECONDS).status == 200


def test_a_long_prompt_of_somebody_else_holds_up_nobody(servers, long_model):
    """It is read for thousands of steps, in which others are answered."""
    server = servers.start(long_model, *PATIENT, "--max-batch", "3", "--prompt-piece", "1")
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.complete, [1] * LONGEST, max_tokens=1)
        until(lambda: server.metrics()["headrace_requests_running"] == 1)
        for _ in range(3):
            assert server.complete("abc", max_tokens=5).status == 200
        assert not long.done()
        server.process.kill()


def test_times_and_tokens_are_counted(servers, cached_model):
    server = servers.start(cached_model)
    for _ in range(3):
        server.text("abc", max_tokens=5)
    until(lambda: counted(server, 200) == 3)
    metrics = server.metrics()
    assert metrics["headrace_prompt_tokens_total"] == 9
    assert metrics["headrace_answer_tokens_total"] == 15
    assert metrics["headrace_time_to_first_token_seconds_count"] == 3
    assert metrics["headrace_time_between_tokens_seconds_count"] == 12
    assert metrics["headrace_request_duration_seconds_count"] == 3
    assert metrics["headrace_slots"] == 16
    assert 'headrace_model_info{name="m",version="7",digest="sha256:abc",runtime="text"}' in metrics


def test_a_text_that_takes_too_long_is_given_up_with_504(held_servers, long_model):
    for doubled in range(10):  # until the time is enough for a first token, however slow the machine is
        server = held_servers.start(long_model, "--request-timeout", str(0.2 * 2**doubled))
        streamed = server.complete("abc", max_tokens=LONGEST, stream=True)
        at_once = server.complete("abc", max_tokens=LONGEST)
        if (streamed.status, at_once.status) == (200, 504):
            break
        assert streamed.status in (200, 408, 504)
        server.process.kill()

    assert b'"type":"server_error"' in streamed.body
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert counted(server, 504) == 2


def test_sigterm_lets_streams_come_to_their_end(held_servers, long_model):
    server = held_servers.start(long_model, *PATIENT)
    found = server.client.completions.create(model="m", prompt="abc", stream=True, max_tokens=1500)
    events = iter(found)
    next(events)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.get("/v2/health/ready").status == 503)
    assert server.metrics()["headrace_requests_running"] == 1
    held_servers.held_while.unlink()
    rest = list(events)
    assert rest[-1].choices[0].finish_reason == "length"
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_sigterm_ends_with_a_text_that_is_not_done_within_the_grace(servers, long_model):
    server = servers.start(long_model, "--grace-seconds", "0.5", "--request-timeout", "600")
    found = stream(server)
    assert server.stop() == 1
    found.close()
