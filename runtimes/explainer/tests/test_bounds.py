"""Overload, a request that takes too long, a client that goes away, and the end in mid-request."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from serving_load import ask_too_much, break_off, wait_for_metric
from serving_support import PATIENCE_SECONDS, PATIENT

IN_FLIGHT = "headrace_explanations_in_flight"


def asked(rows, **parameters):
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [[1.0, 2.0]] * rows}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


ENDLESS = asked(400)


def test_of_too_many_requests_some_are_sent_away_at_once_and_the_next_is_answered(slow_server):
    answers = ask_too_much(slow_server, ENDLESS, times=8)

    statuses = [status for status, _ in answers]
    assert statuses.count(429) == 8 - 1 - 2
    assert {retry for status, retry in answers if status in (429, 503)} == {"1"}
    # The first one's time is over; of the two that waited none had a turn, or too late.
    assert set(statuses) == {429, 503, 504}
    assert slow_server.explain(asked(1, budget=4)).status == 200
    assert slow_server.metrics()[IN_FLIGHT] == 0


def test_what_takes_longer_than_its_time_is_504_and_says_what_to_do(slow_server):
    began = time.monotonic()
    reply = slow_server.explain(ENDLESS)

    assert (reply.status, set(reply.json)) == (504, {"error"})
    assert time.monotonic() - began < 60, "of which 10 are its time"
    assert "fewer rows" in reply.json["error"]


def test_nothing_is_computed_for_a_client_that_is_gone(servers, models):
    server = servers.start(models.slow(), *PATIENT, "--max-batch", "1", "--max-rows", "400")
    with socket.create_connection(server.address) as connection:
        head = f"POST {server.prediction_path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ENDLESS)}\r\n\r\n"
        connection.sendall(head.encode() + ENDLESS)
        wait_for_metric(server, IN_FLIGHT, 1)

    # When the client went: at its time's end, in ten minutes, nobody would wait any more, and an answer would be a 200.
    wait_for_metric(server, IN_FLIGHT, 0)
    assert server.metrics()['headrace_explanation_requests_total{code="499"}'] == 1


def test_a_body_that_breaks_off_takes_nobodys_place(slow_server):
    break_off(slow_server, "Content-Length: 100", b"{")

    assert slow_server.explain(asked(1, budget=4)).status == 200


def test_sigterm_in_mid_request_waits_for_its_answer(servers, models):
    server = servers.start(models.slow(), *PATIENT, "--max-batch", "1", "--quiet-seconds", "0")

    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(server.explain, asked(10, budget=8))
        wait_for_metric(server, IN_FLIGHT, 1)
        server.process.send_signal(signal.SIGTERM)

        assert reply.result().status == 200
    assert server.process.wait(PATIENCE_SECONDS) == 0


def test_a_part_of_the_rows_is_an_answer_that_says_so():
    from headrace_explain.kind import Explanation, Method
    from headrace_explainer.protocol import Question, answer

    rows = {"x": np.ones((3, 2), dtype=np.float32)}
    question = Question(id=None, rows=rows, method="Shapley", output=None, target=None, budget=9)
    done = np.array([1.0, np.nan])
    explanation = Explanation(
        Method.SHAPLEY, "y", np.array([0, 1]), done, done, {"x": np.ones((2, 2))}, done, 40, 1, complete=False
    )

    told = json.loads(answer({"model_name": "m"}, question, explanation))

    assert (told["explanations"][0]["shape"], told["explanations"][0]["data"]) == ([2, 2], [1.0] * 4)
    assert (told["parameters"]["complete"], told["parameters"]["prediction"]) == (False, [1.0, None])
