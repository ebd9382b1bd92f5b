"""Who is to blame when the model cannot compute a request: a 400 is the client's, a 500 is the model's."""

from __future__ import annotations


def tokens(*values: int):
    return {"inputs": [{"name": "tokens", "shape": [1, len(values)], "datatype": "INT32", "data": list(values)}]}


def test_a_token_outside_the_vocabulary_is_the_requests_fault(tokens_server):
    before = tokens_server.metrics()

    reply = tokens_server.infer(tokens(1, 50))

    after = tokens_server.metrics()
    assert reply.status == 400
    assert "cannot compute this request" in reply.json["error"]
    assert after["headrace_model_rejections_total"] == before["headrace_model_rejections_total"] + 1
    assert after['headrace_requests_total{code="500"}'] == 0


def test_a_model_that_answers_nothing_at_all_is_at_fault_itself(servers, models):
    server = servers.start(models.never_works())

    reply = server.infer({"inputs": [{"name": "x", "shape": [1, 11], "datatype": "FP32", "data": [0] * 11}]})

    assert reply.status == 500
    assert set(reply.json) == {"error"}
    assert server.metrics()['headrace_requests_total{code="500"}'] == 1
