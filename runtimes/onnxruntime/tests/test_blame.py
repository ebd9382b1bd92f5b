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


def test_a_model_that_answers_nothing_at_all_does_not_get_ready(servers, models):
    server = servers.start(models.never_works(), wait=False)

    record = server.why_not_started()

    assert (record["class"], record["reason"]) == ("Data", "ModelFails")


def test_a_request_is_to_blame_only_where_the_model_has_ever_given_an_answer(servers, models):
    """The made-up inputs are no numbers: whether it works at all, the first good request shows."""
    server = servers.start(models.numbers_of_texts())

    def status(text: str) -> int:
        return server.infer({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}]}).status

    assert [status(text) for text in ("one", "1.5", "one")] == [500, 200, 400]
