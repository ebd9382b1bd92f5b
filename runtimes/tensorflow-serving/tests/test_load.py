"""Many requests at once: each gets its own answer, too many are refused, and the end loses none."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import grpc
import numpy as np
import pytest
from serving_load import (
    BROKEN_OFF,
    answer_to_a_body_that_does_not_arrive,
    ask_all,
    ask_at_the_end,
    ask_too_much,
    break_off,
    end_under_load,
    post,
    session,
    slow_senders,
    wait_for_metric,
)
from serving_support import PATIENCE_SECONDS

# Some hundred milliseconds, and longer than anybody waits.
SLOW, ENDLESS = (json.dumps({"signature_name": "slow", "inputs": [times]}).encode() for times in (200, 1e7))


def test_each_of_300_parallel_requests_gets_its_own_answer(text_server, models):
    random = np.random.default_rng(3)
    requests = [random.integers(0, 50, size=(random.integers(1, 4), 4)) for _ in range(300)]

    bodies = (json.dumps({"instances": rows.tolist()}).encode() for rows in requests)
    answers = ask_all(text_server, bodies, connections=60)

    expected = np.asarray(models.text.model(np.concatenate(requests)))
    assert {status for status, _ in answers} == {200}
    got = np.concatenate([answer["predictions"] for _, answer in answers])
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)


def test_a_bad_request_among_good_ones_fails_alone(text_server):
    bodies = (json.dumps({"instances": [[99 if index % 10 == 0 else 5]]}).encode() for index in range(40))

    statuses = [status for status, _ in ask_all(text_server, bodies, connections=40)]

    assert statuses == [400 if index % 10 == 0 else 200 for index in range(40)]


def test_small_limits_are_kept_to_with_503_504_and_408(servers, models):
    server = servers.start(
        models.many.base_path, "--max_in_flight=2", "--max_buffered_bytes=1000", "--rest_api_timeout_in_ms=3000"
    )

    answers = ask_too_much(server, SLOW, times=8)
    assert answers.count((503, "1")) == 6
    assert server.metrics()["headrace_requests_in_flight"] == 0

    assert server.predict(b" " * 1001).status == 503
    assert server.predict(b" " * 900).status == 400, "the room is given back"

    assert server.predict(ENDLESS).status == 504
    before = server.metrics()
    assert answer_to_a_body_that_does_not_arrive(server).startswith(b"HTTP/1.1 408 ")
    with slow_senders(server, 100, sent=b"{", length=100):
        assert server.predict({"signature_name": "sum", "inputs": [1, 2]}).status == 200
        name = "headrace_incomplete_requests_total"
        wait_for_metric(server, name, before[name] + 101)
    grown = {name: value - before[name] for name, value in server.metrics().items() if name in before}
    assert {name: value for name, value in grown.items() if "request_count" in name and value} == {
        ':tensorflow:serving:request_count{model_name="m",status="OK"}': 1
    }


@pytest.mark.parametrize(("framing", "sent"), BROKEN_OFF)
def test_a_client_that_breaks_off_is_not_a_failure_of_the_model(text_server, framing, sent):
    break_off(text_server, framing, sent)

    metrics = text_server.metrics()
    failures = [
        f':tensorflow:serving:request_count{{model_name="m",status="{code}"}}' for code in ("INTERNAL", "UNKNOWN")
    ]
    assert [metrics[name] for name in failures] == [0, 0]
    assert metrics["headrace_requests_in_flight"] == 0
    assert text_server.predict({"instances": [[1]]}).status == 200


def test_sigterm_under_load_loses_no_request(servers, models):
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    # A client is of this process, which a busy machine may hold up for some seconds: that is no quiet.
    server = servers.start(models.text.base_path, "--quiet_seconds=6")
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["tokens"].dtype = 3
    request.inputs["tokens"].int_val.extend([1, 2])
    for size in (1, 2):
        request.inputs["tokens"].tensor_shape.dim.add(size=size)

    async def scenario() -> tuple[list[int], list[int]]:
        options = [("grpc.enable_http_proxy", 0)]
        async with session(0) as client, grpc.aio.insecure_channel(server.target, options=options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            async def by_rest() -> int:
                return (await post(client, server, body))[0]

            async def by_grpc() -> int:
                return len((await stub.Predict(request, timeout=PATIENCE_SECONDS)).outputs) and 200

            asks = [by_grpc if index % 4 == 0 else by_rest for index in range(16)]
            return await end_under_load(server, client, asks, linger_seconds=0.03)

    answers, after_unready = asyncio.run(scenario())

    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert set(answers) == {200}
    assert after_unready, "some requests must have come after the server said that it is going to end"


def test_sigterm_waits_for_the_requests_in_flight(servers, models):
    server = servers.start(models.many.base_path, *servers.patient, "--quiet_seconds=0")

    answers = ask_at_the_end(server, SLOW, times=4, in_flight=4)

    assert [answer[0] for answer in answers] == [200] * 4
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_sigterm_waits_for_no_longer_than_the_grace(servers, models):
    server = servers.start(models.many.base_path, "--quiet_seconds=0", "--grace_seconds=0.2")

    answers = ask_at_the_end(server, ENDLESS, times=4, in_flight=4)

    assert server.process.wait(PATIENCE_SECONDS) == 1
    assert all(isinstance(answer, aiohttp.ClientError) for answer in answers)
