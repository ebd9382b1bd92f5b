"""The gatekeeper before an application that says yes to everything."""

import asyncio
import base64
import json

import pytest

from headrace_mlflow.gatekeeper import Gatekeeper, UsersUnavailable

USERS = {("admin", "secret"): True, ("tenant", "pass:word"): False}


async def says_yes(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def ask(method, path, authorization=None, is_administrator=lambda *credentials: USERS.get(credentials)):
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    sent = []

    async def send(message):
        sent.append(message)

    gatekeeper = Gatekeeper(says_yes, is_administrator)
    asyncio.run(gatekeeper(scope, None, send))
    return sent[0]["status"], sent[1]["body"]


def basic(username, password):
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


CREATE = ("POST", "/api/2.0/mlflow/registered-models/create")


@pytest.mark.parametrize(
    ("request_", "authorization", "status"),
    [
        (CREATE, basic("admin", "secret"), 200),
        (CREATE, basic("tenant", "pass:word"), 403),
        (CREATE, basic("tenant", "wrong"), 401),
        (CREATE, basic("nobody", "secret"), 401),
        (CREATE, None, 401),
        (CREATE, b"Basic !!!", 401),
        (CREATE, b"Basic " + base64.b64encode(b"no separator"), 401),
        (CREATE, b"Basic " + base64.b64encode(b"\xff\xfe:x"), 401),
        (CREATE, b"Bearer secret", 401),
        (CREATE, b"", 401),
        (("GET", "/ajax-api/3.0/mlflow/assistant/config"), basic("admin", "secret"), 404),
        # MLflow itself judges what users may ask for
        (("POST", "/api/2.0/mlflow/runs/create"), None, 200),
        (("GET", "/health"), None, 200),
    ],
)
def test_what_reaches_mlflow(request_, authorization, status):
    assert ask(*request_, authorization)[0] == status


def test_a_refusal_is_mlflows_json_with_what_to_do():
    body = json.loads(ask(*CREATE, basic("tenant", "pass:word"))[1])
    assert body["error_code"] == "PERMISSION_DENIED"
    assert "spec.output.model" in body["message"]


def test_while_nobody_can_say_who_the_users_are_an_administrator_is_told_so_and_not_refused():
    def away(username, password):
        raise UsersUnavailable("connection refused")

    status, body = ask(*CREATE, basic("admin", "secret"), away)
    assert status == 503
    assert json.loads(body) == {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "connection refused"}
