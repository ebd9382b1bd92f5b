"""What the client makes of what a server says, on a real HTTP server that answers as told."""

import asyncio
import base64
import json
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from headrace.kube.errors import LeaseLost
from headrace.tracking import breaker
from headrace.tracking import client as client_module
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import AlreadyExists, NotFound, TrackingError, TrackingForbidden, TrackingUnavailable


def answer(status, body, call=lambda client: client.current_user(), password="secret-password", may_write=lambda: True):
    """Calls a server that answers with this; returns the result and the requests that it got."""
    seen = []

    async def handle(request):
        seen.append(request)
        await request.read()
        headers = {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
        return web.Response(status=status, body=body if isinstance(body, str) else json.dumps(body), headers=headers)

    return serve(handle, call, password, may_write), seen


def serve(handle, call, password="secret-password", may_write=lambda: True):
    """What `call` makes of a server that handles every request so."""

    async def main():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with aiohttp.ClientSession() as session:
                return await call(MlflowClient(f"http://127.0.0.1:{port}/", "operator", password, session, may_write))
        finally:
            await runner.cleanup()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, "You are not authenticated", TrackingForbidden),
        (403, {"error_code": "PERMISSION_DENIED", "message": "no"}, TrackingForbidden),
        (403, "Invalid Host header", TrackingForbidden),
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}, NotFound),
        (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias x not found."}, NotFound),
        (400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "taken"}, AlreadyExists),
        (429, "slow down", TrackingUnavailable),
        (500, "boom", TrackingUnavailable),
        (502, "<html>bad gateway</html>", TrackingUnavailable),
        (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no connection"}, TrackingUnavailable),
    ],
)
def test_an_error_becomes_the_type_that_it_means(status, body, error):
    with pytest.raises(error):
        answer(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>nginx</html>"),
        (404, ""),
        (200, "<html>somebody else's page</html>"),
        (200, ["a", "list"]),
        (302, ""),
    ],
)
def test_what_is_not_mlflows_answer_says_nothing_of_what_is_there(status, body):
    """A proxy's page, or another server's at its address: neither an absence nor a refusal, which would be final."""
    with pytest.raises(TrackingUnavailable):
        answer(status, body)


def test_a_request_that_mlflow_refuses_is_final():
    with pytest.raises(TrackingError) as raised:
        answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "experiment name not found acceptable"})
    assert type(raised.value) is TrackingError


def test_an_error_names_the_server_and_the_thing_and_never_the_password():
    with pytest.raises(NotFound, match=r"MLflow at http://127\.0\.0\.1:\d+: GET of model team-a\.text: 404") as raised:
        answer(
            404,
            {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"},
            lambda client: client.get_registered_model("team-a.text"),
        )
    assert "secret-password" not in str(raised.value)


def test_an_error_of_many_lines_becomes_one_line():
    said = 'connection to server at "db" failed: refused\n\tIs the server running?\n\n(Background)'
    with pytest.raises(TrackingUnavailable) as raised:
        answer(503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": said})
    assert str(raised.value).endswith('server at "db" failed: refused Is the server running? (Background)')


def test_a_password_with_any_character_is_sent_as_it_is():
    _, seen = answer(200, {"user": {"username": "operator"}}, password="pä:ss wörd")
    encoded = seen[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(encoded).decode() == "operator:pä:ss wörd"


def search(pages, call):
    """What a search makes of these pages."""
    left = iter(pages)

    class Paged(MlflowClient):
        async def _call(self, *arguments, **rest):
            return next(left)

    async def main():
        async with aiohttp.ClientSession() as session:
            return await call(Paged("http://x", "", "", session))

    return asyncio.run(main())


def test_a_search_reads_all_pages_and_sorts_versions_as_numbers():
    pages = [
        {"model_versions": [{"name": "m", "version": "10"}, {"name": "m", "version": "9"}], "next_page_token": "n"},
        {"model_versions": [{"name": "m", "version": "2"}]},
    ]
    found = search(pages, lambda client: client.search_model_versions("m", "headrace.uid", "u"))
    assert [entry.version for entry in found] == ["2", "9", "10"]


def test_versions_are_counted_whatever_tags_they_carry():
    pages = [{"model_versions": [{"name": "m", "version": "2"}], "next_page_token": "n"}, {"model_versions": [{}]}]
    assert search(pages, lambda client: client.count_model_versions("m")) == 2
    assert search([{}], lambda client: client.count_model_versions("m")) == 0


def test_a_search_of_models_reads_all_pages_with_their_aliases():
    pages = [
        {"registered_models": [{"name": "a", "aliases": [{"alias": "x", "version": "3"}]}], "next_page_token": "n"},
        {"registered_models": [{"name": "b", "creation_timestamp": 7}]},
        {},
    ]
    found = search(pages, lambda client: client.search_registered_models("headrace.namespace"))
    assert [(model.name, model.created, model.aliases) for model in found] == [("a", 0, {"x": "3"}), ("b", 7, {})]
    assert search([{}], lambda client: client.search_registered_models("headrace.namespace")) == []


@pytest.mark.parametrize("value", ["x' or tags.a = 'b", "'"])
def test_a_value_that_would_change_the_filter_is_not_sent(value):
    with pytest.raises(ValueError, match="quote"):
        answer(200, {}, lambda client: client.search_runs("1", "headrace.uid", value))


@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.set_alias("team-a.text", "champion", "2"),
        lambda client: client.create_model_version("team-a.text", "s3://a/b", "r1", {}),
        lambda client: client.set_tag("r1", "headrace.gate", "passed"),
    ],
)
def test_who_does_not_hold_the_lease_writes_nothing(write):
    with pytest.raises(LeaseLost):
        answer(200, {}, write, may_write=lambda: False)


def test_who_does_not_hold_the_lease_may_still_ask():
    found, seen = answer(
        200, {"runs": []}, lambda client: client.search_runs("1", "headrace.uid", "uid"), may_write=lambda: False
    )

    assert (found, [request.method for request in seen]) == ([], ["POST"])


def test_runs_in_the_trash_are_found_where_they_are_asked_for():
    deleted = {"info": {"run_id": "r1", "experiment_id": "1", "lifecycle_stage": "deleted"}}

    [run], [request] = answer(
        200, {"runs": [deleted]}, lambda client: client.search_all_runs("1", "headrace.uid", "uid")
    )

    assert (run.id, run.deleted) == ("r1", True)
    assert asyncio.run(request.json())["run_view_type"] == "ALL"


def test_a_server_that_takes_calls_and_never_answers_is_not_waited_for_again_and_again(monkeypatch):
    monkeypatch.setattr(client_module, "CALL_SECONDS", 3.0)
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(client_module, "Breaker", lambda: breaker.Breaker(clock=lambda: now.seconds))
    answers = asyncio.Event()
    asked = []

    async def handle(request):
        asked.append(request.path)
        await answers.wait()
        return web.json_response({"user": {"username": "operator"}})

    async def scenario(client):
        for _ in range(20):
            with pytest.raises(TrackingUnavailable):
                await client.current_user()
        assert len(asked) == 1
        answers.set()
        now.seconds += breaker.OPEN_SECONDS
        assert [await client.current_user() for _ in range(2)] == ["operator", "operator"]

    serve(handle, scenario)


LEAKS = [
    "postgresql://mlflow:secret-password@db:5432/mlflow",
    "postgresql://mlflow:secret-pa/ss@db/mlflow",
    "connecting to postgresql://secret-password@db failed",
    "x" * 470 + " postgresql://mlflow:secret-password@db:5432/mlflow",
]


@pytest.mark.parametrize("said", LEAKS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_credentials_of_a_url_are_repeated_of_what_mlflow_says(status, said):
    for body in ({"error_code": "INTERNAL_ERROR", "message": said}, said):
        if status == 200 and not isinstance(body, str):
            continue
        with pytest.raises(TrackingError) as refused:
            answer(status, body)
        assert "secret" not in str(refused.value)
        assert len(str(refused.value)) < 800


def test_no_credentials_of_the_servers_own_url_are_told():
    async def ask():
        async with aiohttp.ClientSession() as session:
            await MlflowClient("http://admin:secret-password@127.0.0.1:9/", "", "", session).current_user()

    with pytest.raises(TrackingUnavailable) as refused:
        asyncio.run(ask())

    assert "secret-password" not in str(refused.value)
    assert "http://***@127.0.0.1:9" in str(refused.value)
