"""Many requests at once: each gets its own answer, too many are refused, and the end loses none."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import aiohttp
import numpy as np
import onnxruntime
import pytest
from serving_load import (
    BROKEN_OFF,
    answer_to_a_body_that_does_not_arrive,
    ask_all,
    ask_at_the_end,
    ask_together,
    ask_too_much,
    break_off,
    end_under_load,
    post,
    session,
    slow_senders,
    wait_for_metric,
)
from serving_support import PATIENCE_SECONDS, PATIENT


def body_of(name: str, datatype: str, rows: list[list[Any]]) -> bytes:
    entry = {"name": name, "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": rows}
    return json.dumps({"inputs": [entry]}).encode()


# Of models.as_slow_as_told(): around a second, and longer than anybody waits.
SLOW, ENDLESS = (body_of("x", "FP32", [[1, times]]) for times in (300, 1e7))


def test_each_of_500_parallel_requests_gets_its_own_answer(tokens_server, models):
    random = np.random.default_rng(3)
    requests = [
        random.integers(0, 50, size=(random.integers(1, 4), random.integers(1, 6)), dtype=np.int32) for _ in range(500)
    ]
    before = tokens_server.metrics()

    # Half of them are there before the first is computed.
    bodies = (body_of("tokens", "INT32", rows.tolist()) for rows in requests)
    answers = ask_together(tokens_server, bodies, connections=250)

    engine = onnxruntime.InferenceSession(str(models.tokens() / "onnx" / "model.onnx"))
    for tokens, (status, answer) in zip(requests, answers, strict=True):
        assert status == 200
        (output,) = answer["outputs"]
        (alone,) = engine.run(None, {"tokens": tokens})
        np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), alone, rtol=1e-4, atol=1e-6)
    after = tokens_server.metrics()
    runs = after["headrace_batch_rows_count"] - before["headrace_batch_rows_count"]
    assert runs < 400, "requests of one shape must have been computed together"


def test_a_bad_request_among_good_ones_fails_alone(tokens_server):
    bodies = (body_of("tokens", "INT32", [[99 if index % 10 == 0 else 5, 1]]) for index in range(60))

    statuses = [status for status, _ in ask_all(tokens_server, bodies, connections=60)]

    assert statuses == [400 if index % 10 == 0 else 200 for index in range(60)]


def test_requests_whose_first_dimension_is_time_are_not_computed_together(servers, models):
    server = servers.start(models.time_major())
    engine = onnxruntime.InferenceSession(str(models.time_major() / "onnx" / "model.onnx"))
    random = np.random.default_rng(4)
    requests = [random.standard_normal((3, 2)).astype(np.float32) for _ in range(40)]

    answers = ask_all(server, (body_of("x", "FP32", x.tolist()) for x in requests), connections=40)

    for x, (status, answer) in zip(requests, answers, strict=True):
        assert status == 200
        np.testing.assert_allclose(
            np.reshape(answer["outputs"][0]["data"], (3, 3)), engine.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6
        )


def test_requests_whose_inputs_differ_in_their_rows_get_their_own_answers(servers, models):
    server = servers.start(models.slow_sum())
    pairs = [([index], [1000 * index]) for index in range(60)]
    for index in range(0, 60, 12):
        pairs[index] = ([index, index + 1], [1000 * index])
        pairs[index + 1] = ([index], [1000 * index, 7])

    def body(a: list[int], b: list[int]) -> bytes:
        entries = [
            {"name": name, "shape": [len(rows), 1], "datatype": "FP32", "data": rows}
            for name, rows in (("a", a), ("b", b))
        ]
        return json.dumps({"inputs": entries}).encode()

    answers = ask_all(server, (body(a, b) for a, b in pairs), connections=40)

    expected = [[x + b[0] for x in a] if len(b) == 1 else [a[0] + x for x in b] for a, b in pairs]
    assert [(status, answer["outputs"][0]["data"]) for status, answer in answers] == [(200, sums) for sums in expected]


def test_more_requests_than_fit_are_refused_with_503_and_when_to_come_back(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-in-flight", "2", "--max-batch", "1")

    answers = ask_too_much(server, SLOW, times=8)

    assert (200, None) in answers
    assert (503, "1") in answers
    assert set(answers) == {(200, None), (503, "1")}
    assert server.metrics()["headrace_requests_in_flight"] == 0


def test_a_request_that_would_wait_too_long_is_refused_at_once_with_429_and_when_to_come_back(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-wait", "0.01", "--max-batch", "1")
    assert server.infer(SLOW).status == 200, "nothing waits; from now on the server knows how long one takes"

    answers = ask_too_much(server, SLOW, times=8)

    assert {status for status, _ in answers} == {200, 429}
    assert all(int(retry) >= 1 for status, retry in answers if status == 429)
    assert server.infer(SLOW).status == 200, "once nothing waits"


def test_a_delay_lets_requests_wait_for_company(servers, models):
    """A server that waits for sixty seconds, or for four rows, answers four at once, and in one run."""
    server = servers.start(models.tokens(), *PATIENT, "--max-batch", "4", "--max-delay", "60")
    body = body_of("tokens", "INT32", [[1, 2]])

    statuses = [status for status, _ in ask_together(server, [body] * 4, connections=4)]

    assert statuses == [200] * 4
    assert server.metrics()["headrace_batch_rows_count"] == 1


def test_more_bytes_than_fit_are_refused_with_503(servers, models):
    server = servers.start(models.affine(), "--max-buffered-bytes", "1000")
    assert server.infer(b" " * 1001).status == 503
    assert server.infer(b" " * 900).status == 400, "the room is given back"


def test_a_request_that_takes_too_long_is_given_up_with_504(servers, models):
    server = servers.start(models.as_slow_as_told(), "--request-timeout", "2")
    reply = server.infer(ENDLESS)
    assert reply.status == 504
    assert "--request-timeout raises that" in reply.json["error"]


def test_a_body_that_does_not_arrive_is_given_up_with_408_and_no_inference(servers, models):
    server = servers.start(models.affine(), "--request-timeout", "0.2")

    answer = answer_to_a_body_that_does_not_arrive(server)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"--request-timeout raises that" in answer
    metrics = server.metrics()
    assert metrics["headrace_incomplete_requests_total"] == 1
    assert sum(value for name, value in metrics.items() if "headrace_requests_total" in name) == 0


def test_slow_senders_turn_nobody_away(servers, models):
    server = servers.start(models.affine(), "--max-in-flight", "2")
    with slow_senders(server, 100, sent=b"{", length=100):
        assert server.metrics()["headrace_requests_in_flight"] == 0
        for _ in range(5):
            assert server.infer(body_of("x", "FP32", [[1, 2, 3, 4]])).status == 200


def test_slow_senders_of_large_bodies_make_room_for_others(servers, models):
    server = servers.start(models.affine(), "--max-buffered-bytes", "300000", "--max-body-bytes", "100000")
    good = body_of("x", "FP32", [[1, 2, 3, 4]]).ljust(90_000)
    with ExitStack() as stack:
        clients = []
        for number in (1, 2, 3):
            clients += stack.enter_context(slow_senders(server, 1, sent=b" " * 99_000, length=99_999))
            wait_for_metric(server, "headrace_buffered_bytes", number * 99_000)
        oldest, *others = clients
        time.sleep(1)
        assert server.infer(good).status == 200
        assert oldest.recv(1000).startswith(b"HTTP/1.1 408 ")
        for other in others:
            other.sendall(b" " * 999)
            assert other.recv(1000).startswith(b"HTTP/1.1 400 "), "it came to its end, and is blank"
    assert server.metrics()["headrace_incomplete_requests_total"] == 1


@pytest.mark.parametrize(("framing", "sent"), BROKEN_OFF)
def test_a_client_that_breaks_off_is_not_a_failure_of_the_model(affine_server, framing, sent):
    break_off(affine_server, framing, sent)

    metrics = affine_server.metrics()
    assert sum(value for name, value in metrics.items() if 'requests_total{code="5' in name) == 0
    assert metrics["headrace_requests_in_flight"] == 0
    assert affine_server.infer(body_of("x", "FP32", [[1, 2, 3, 4]])).status == 200


def test_sigterm_under_load_loses_no_request(servers, models):
    # A client is of this process, which a busy machine may hold up for some seconds: that is no quiet.
    server = servers.start(models.tokens(), "--quiet-seconds", "6")
    body = body_of("tokens", "INT32", [[1, 2, 3]])

    async def scenario() -> tuple[list[int], list[int]]:
        async with session(0) as client:

            async def ask() -> int:
                return (await post(client, server, body))[0]

            return await end_under_load(server, client, [ask] * 16, linger_seconds=0.02)

    statuses, after_unready = asyncio.run(scenario())

    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert set(statuses) == {200}
    assert after_unready, "some requests must have come after the server said that it is going to end"


def test_sigterm_waits_for_the_request_in_flight_and_not_for_longer_than_the_grace(servers, models):
    slow, endless = (
        servers.start(models.as_slow_as_told(), *PATIENT, "--max-batch", "1", "--quiet-seconds", "0", *flags)
        for flags in ((), ("--grace-seconds", "0.2"))
    )

    assert [answer[0] for answer in ask_at_the_end(slow, SLOW, times=4, in_flight=4)] == [200] * 4
    assert slow.process.wait(PATIENCE_SECONDS) == 0

    answers = ask_at_the_end(endless, ENDLESS, times=4, in_flight=4)
    assert endless.process.wait(PATIENCE_SECONDS) == 1
    assert any(isinstance(answer, aiohttp.ClientError) for answer in answers)
