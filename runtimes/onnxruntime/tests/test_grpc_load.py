"""Many requests at once over gRPC, beside those of HTTP; clients that give up; and the end, which loses no request."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_requests import INFER, NO_PROXY, refused, request, rows
from half_messages import peak_bytes, send_half
from serving_load import ask_together, held_up, post, session, wait_for_metric
from serving_support import PATIENCE_SECONDS, PATIENT
from tritonclient.grpc import service_pb2, service_pb2_grpc

CODES = grpc.StatusCode
MIB = 1024**2
READY = "/inference.GRPCInferenceService/ModelReady"
HEALTH = "/grpc.health.v1.Health/Watch"
GOOD = rows([1, 2, 3, 4])


def as_slow_as(times: float) -> service_pb2.ModelInferRequest:
    return request({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, times]})


# Of models.as_slow_as_told(): around a second, and longer than anybody waits.
SLOW, ENDLESS = as_slow_as(300), as_slow_as(1e7)


def tokens_request(tokens: Any) -> service_pb2.ModelInferRequest:
    tokens = np.asarray(tokens, dtype="<i4")
    return request({"name": "tokens", "datatype": "INT32", "shape": list(tokens.shape), "data": tokens.tobytes()})


def http_body(tokens: Any) -> bytes:
    entry = {"name": "tokens", "datatype": "INT32", "shape": [len(tokens), len(tokens[0])], "data": tokens}
    return json.dumps({"inputs": [entry]}).encode()


def all_codes(calls: list[Any]) -> list[grpc.StatusCode]:
    return [call.code() for call in calls]


def counted(server: Any, code: int) -> float:
    return server.metrics().get(f'headrace_requests_total{{code="{code}"}}', 0.0)


def test_requests_of_both_protocols_are_computed_together_and_each_gets_its_own_answer(tokens_server, models):
    random = np.random.default_rng(5)
    tokens = random.integers(0, 50, size=(120, 2, 3), dtype=np.int32)
    before = tokens_server.metrics()

    # All of them are there before the first is computed.
    with held_up(tokens_server):
        by_grpc = [
            tokens_server.stub.ModelInfer.future(tokens_request(asked), timeout=PATIENCE_SECONDS)
            for asked in tokens[:60]
        ]
        by_http = ask_together(tokens_server, [http_body(asked.tolist()) for asked in tokens[60:]], 60)
    answers = [np.frombuffer(call.result().raw_output_contents[0], "<f4") for call in by_grpc]
    answers += [np.array(answer["outputs"][0]["data"], np.float32) for _, answer in by_http]

    engine = onnxruntime.InferenceSession(str(models.tokens() / "onnx" / "model.onnx"))
    for asked, answer in zip(tokens, answers, strict=True):
        (alone,) = engine.run(None, {"tokens": asked})
        np.testing.assert_allclose(answer.reshape(alone.shape), alone, rtol=1e-4, atol=1e-6)
    after = tokens_server.metrics()
    assert after["headrace_batch_rows_count"] - before["headrace_batch_rows_count"] < 100


def test_a_bad_request_among_good_ones_fails_alone(tokens_server):
    calls = [
        tokens_server.stub.ModelInfer.future(
            tokens_request([[99 if index % 10 == 0 else 5, 1]]), timeout=PATIENCE_SECONDS
        )
        for index in range(60)
    ]
    expected = [CODES.INVALID_ARGUMENT if index % 10 == 0 else CODES.OK for index in range(60)]
    assert all_codes(calls) == expected


def test_more_requests_than_fit_are_unavailable_and_told_when_to_come_back(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-in-flight", "2", "--max-batch", "1")

    with held_up(server):
        calls = [server.stub.ModelInfer.future(SLOW, timeout=PATIENCE_SECONDS) for _ in range(8)]

    assert set(all_codes(calls)) == {CODES.OK, CODES.UNAVAILABLE}
    turned_away = next(call for call in calls if call.code() is CODES.UNAVAILABLE)
    assert "the server answers 2 requests already" in turned_away.details()
    assert ("grpc-retry-pushback-ms", "1000") in [tuple(pair) for pair in turned_away.trailing_metadata()]
    assert counted(server, 503) == all_codes(calls).count(CODES.UNAVAILABLE)
    assert server.metrics()["headrace_requests_in_flight"] == 0


def test_more_bytes_than_fit_are_unavailable(servers, models):
    server = servers.start(models.affine(), "--max-buffered-bytes", "1000")
    large = rows(*[[1, 2, 3, 4]] * 100)
    assert refused(lambda: server.stub.ModelInfer(large, timeout=PATIENCE_SECONDS)).code() is CODES.UNAVAILABLE
    assert server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m", "the room is given back"
    assert server.metrics()["headrace_buffered_bytes"] == 0


def test_a_request_that_takes_too_long_is_given_up(servers, models):
    server = servers.start(models.as_slow_as_told(), "--request-timeout", "2")
    error = refused(lambda: server.stub.ModelInfer(ENDLESS, timeout=PATIENCE_SECONDS))
    assert error.code() is CODES.DEADLINE_EXCEEDED
    assert "--request-timeout raises that" in error.details()
    assert counted(server, 504) == 1


def wait_for_in_flight(server: Any, at_least: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := server.metrics()["headrace_requests_in_flight"]) < at_least:
        assert time.monotonic() < deadline, f"{found} are in flight, not {at_least}"


def assert_most_were_not_computed(server: Any) -> None:
    """Of 50 requests that were given up, beside another one."""
    wait_for_metric(server, "headrace_requests_in_flight", 0)
    assert server.metrics()["headrace_inference_seconds_count"] < 20
    assert sum(counted(server, code) for code in (500, 503, 504)) == 0, "it is no failure of the model"


def test_a_request_that_its_client_cancels_is_not_computed(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-batch", "1")
    with held_up(server):
        first = server.stub.ModelInfer.future(SLOW, timeout=PATIENCE_SECONDS)
        others = [server.stub.ModelInfer.future(SLOW, timeout=PATIENCE_SECONDS) for _ in range(50)]
    wait_for_in_flight(server, at_least=35)
    for call in others:
        call.cancel()

    assert first.code() is CODES.OK
    cancelled = all_codes(others).count(CODES.CANCELLED)
    assert cancelled > 30
    assert_most_were_not_computed(server)
    assert 30 < counted(server, 499) <= cancelled


def test_a_request_whose_clients_deadline_is_over_is_not_computed(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-batch", "1")
    first = server.stub.ModelInfer.future(SLOW, timeout=PATIENCE_SECONDS)
    others = [server.stub.ModelInfer.future(SLOW, timeout=0.05) for _ in range(50)]

    assert first.code() is CODES.OK
    assert all_codes(others).count(CODES.DEADLINE_EXCEEDED) > 30
    assert_most_were_not_computed(server)


def test_messages_that_do_not_arrive_keep_nobody_out(servers, models):
    server = servers.start(models.affine(), "--max-in-flight", "2", "--request-timeout", "8")
    never = threading.Event()

    def nothing() -> Any:
        never.wait(60)
        yield from ()

    half_open = [server.channel.stream_unary(INFER).future(nothing(), timeout=PATIENCE_SECONDS) for _ in range(50)]
    has_ended = threading.Event()
    for call in half_open:
        call.add_done_callback(lambda _: has_ended.set())
    try:
        assert has_ended.wait(30), "more of them wait than may be under way"
        for _ in range(3):
            assert server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m"
        assert set(all_codes(half_open)) == {CODES.DEADLINE_EXCEEDED, CODES.UNAVAILABLE}
    finally:
        never.set()
    assert server.metrics()["headrace_incomplete_requests_total"] == 50
    assert sum(value for name, value in server.metrics().items() if "requests_total{" in name) == 3


def test_a_message_that_does_not_arrive_is_given_up(servers, models):
    server = servers.start(models.affine(), "--request-timeout", "0.1")
    never = threading.Event()

    def nothing() -> Any:
        never.wait(60)
        yield from ()

    call = server.channel.stream_unary(INFER).future(nothing(), timeout=PATIENCE_SECONDS)
    try:
        assert call.code() is CODES.DEADLINE_EXCEEDED
        assert "--request-timeout raises that" in call.details()
    finally:
        never.set()


@pytest.mark.parametrize("method", [INFER, READY, HEALTH])
def test_messages_that_come_but_for_their_end_hold_no_more_memory_than_they_may(servers, models, method):
    flags = ["--max-body-bytes", str(4 * MIB), "--max-buffered-bytes", str(16 * MIB), "--request-timeout", "3"]
    server = servers.start(models.affine(), *flags)
    assert server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m"
    before = peak_bytes(server)

    sent = send_half(server.grpc_port, method, streams=60, size=4 * MIB)

    assert sent > 12 * MIB, "some were under way, to the last byte but one"
    assert peak_bytes(server) - before < (16 + 32) * MIB, "where they are 240 MiB"
    assert server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m"


def test_a_name_that_is_too_long_is_refused(affine_server):
    name = "m" * 70_000
    error = refused(
        lambda: affine_server.stub.ModelReady(service_pb2.ModelReadyRequest(name=name), timeout=PATIENCE_SECONDS)
    )
    assert error.code() is CODES.RESOURCE_EXHAUSTED
    assert "65536 bytes" in error.details()


def test_many_requests_of_one_channel_are_all_answered(affine_server):
    calls = [affine_server.stub.ModelInfer.future(GOOD, timeout=PATIENCE_SECONDS) for _ in range(200)]
    assert set(all_codes(calls)) == {CODES.OK}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
    ],
)
def test_connections_that_are_none_of_grpc_keep_nobody_out(affine_server, sent):
    address = ("127.0.0.1", affine_server.grpc_port)
    connections = [socket.create_connection(address, timeout=5) for _ in range(50)]
    try:
        for connection in connections:
            connection.sendall(sent)
        assert affine_server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m"
    finally:
        for connection in connections:
            connection.close()
    assert affine_server.stub.ModelInfer(GOOD, timeout=PATIENCE_SECONDS).model_name == "m"


def test_sigterm_under_load_loses_no_request(servers, models):
    # A client is of this process, which a busy machine may hold up for some seconds: that is no quiet.
    server = servers.start(models.tokens(), "--quiet-seconds", "6")
    wanted = tokens_request([[1, 2, 3]])

    async def scenario() -> tuple[list[Any], int]:
        codes: list[Any] = []
        after_unready = 0
        unready = asyncio.Event()
        async with grpc.aio.insecure_channel(server.target, options=NO_PROXY) as channel, session(0) as client:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def ask() -> Any:
                call = stub.ModelInfer(wanted, timeout=PATIENCE_SECONDS)
                return await call.code()

            async def ask_http() -> Any:
                status, _ = await post(client, server, http_body([[1, 2, 3]]))
                return {200: CODES.OK}.get(status, status)

            async def loop(ask: Any) -> None:
                nonlocal after_unready
                late = 0
                while late < 5:
                    is_late = unready.is_set()
                    codes.append(await ask())
                    late += is_late
                    after_unready += is_late

            async def watch() -> None:
                while (await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PATIENCE_SECONDS)).ready:
                    await asyncio.sleep(0.02)
                unready.set()

            loops = [asyncio.create_task(loop(way)) for way in [ask] * 8 + [ask_http] * 2]
            while len(codes) < 100:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(watch(), *loops)
        return codes, after_unready

    codes, after_unready = asyncio.run(scenario())

    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert set(codes) == {CODES.OK}
    assert after_unready == 50


def test_the_end_waits_for_what_is_in_flight_and_the_health_check_says_so_first(servers, models):
    server = servers.start(models.as_slow_as_told(), *PATIENT, "--max-batch", "1", "--quiet-seconds", "0")
    statuses = health_pb2_grpc.HealthStub(server.channel).Watch(
        health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS
    )
    assert next(statuses).status == health_pb2.HealthCheckResponse.SERVING
    calls = [server.stub.ModelInfer.future(SLOW, timeout=PATIENCE_SECONDS) for _ in range(6)]
    wait_for_in_flight(server, at_least=3)

    server.process.send_signal(signal.SIGTERM)

    assert next(statuses).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert all_codes(calls) == [CODES.OK] * 6
    assert server.process.wait(PATIENCE_SECONDS) == 0
