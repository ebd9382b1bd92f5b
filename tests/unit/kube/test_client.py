"""The client against a small HTTP server in this process: what it sends, and what it makes of each answer.

What the API server itself answers is in tests/integration/test_kube.py.
"""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web

from headrace.kube import client as client_module
from headrace.kube import credentials as credentials_module
from headrace.kube.client import KubeClient
from headrace.kube.errors import (
    ApiUnavailable,
    Conflict,
    Forbidden,
    Invalid,
    KindNotFound,
    KubeError,
    LeaseLost,
    NotFound,
)
from headrace.kube.resources import CONFIGMAPS, JOBS, NODES, PODS, TRAININGJOBS

CONFIGMAP = {"metadata": {"namespace": "team-a", "name": "x"}, "data": {"a": "b"}}


class Server:
    """Answers `answers` one after the other (a pair of status and body, or a coroutine function); records requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    async def answer(self, request):
        body = await request.read()
        self.requests.append((request.method, request.path, dict(request.query), request.headers, body))
        answer = self.answers.pop(0)
        if callable(answer):
            return await answer()
        status, body = answer
        return web.Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def write_kubeconfig(path, server, **user):
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return path


@asynccontextmanager
async def connected(tmp_path, server, **options):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{port}", token="secret-1")
    try:
        async with KubeClient.session(kubeconfig, **options) as client:
            yield client
    finally:
        await runner.cleanup()


def call(tmp_path, server, use, **options):
    async def main():
        async with connected(tmp_path, server, **options) as client:
            return await use(client)

    return asyncio.run(main())


def status_body(code, reason, message, name="x"):
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"name": name}}


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "subresource", "path"),
    [
        (PODS, "team-a", "p", "log", "/api/v1/namespaces/team-a/pods/p/log"),
        (TRAININGJOBS, "team-a", "t", "status", "/apis/headrace.dev/v1alpha1/namespaces/team-a/trainingjobs/t/status"),
        (JOBS, None, "", "", "/apis/batch/v1/jobs"),
        (NODES, "ignored", "n", "", "/api/v1/nodes/n"),
    ],
)
def test_a_resource_knows_its_paths(resource, namespace, name, subresource, path):
    assert resource.path(namespace, name, subresource) == path


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", KubeError),
        (409, "AlreadyExists", Conflict),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", ApiUnavailable),
        (500, "InternalError", ApiUnavailable),
        (503, "ServiceUnavailable", ApiUnavailable),
    ],
)
def test_a_refusal_becomes_its_type_and_names_verb_object_and_what_the_server_said(tmp_path, code, reason, error):
    with pytest.raises(error) as raised:
        call(tmp_path, Server(status_body(code, reason, "because")), lambda c: c.create(CONFIGMAPS, CONFIGMAP))

    assert type(raised.value) is error
    assert str(raised.value) == f"POST ConfigMap team-a/x: {code} {reason}: because"
    assert (raised.value.status, raised.value.reason) == (code, reason)


def test_an_answer_that_is_no_status_object_is_quoted(tmp_path):
    with pytest.raises(ApiUnavailable, match="GET ConfigMap team-a/x: 502 : bad gateway"):
        call(tmp_path, Server((502, b"bad gateway")), lambda c: c.get(CONFIGMAPS, "team-a", "x"))


def test_an_object_that_does_not_exist_is_read_as_none(tmp_path):
    assert call(tmp_path, Server(status_body(404, "NotFound", "")), lambda c: c.get(PODS, "team-a", "p")) is None


@pytest.mark.parametrize("answer", [status_body(404, "NotFound", "no such path", ""), (404, b"404 page not found")])
def test_a_404_that_is_not_about_the_object_does_not_say_that_it_is_gone(tmp_path, answer):
    with pytest.raises(KindNotFound):
        call(tmp_path, Server(answer), lambda c: c.get(PODS, "team-a", "p"))
    with pytest.raises(KindNotFound):
        call(tmp_path, Server(answer), lambda c: c.delete(PODS, "team-a", "p", uid="u"))


def test_a_server_that_does_not_answer_is_unavailable_within_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "CALL_SECONDS", 0.1)

    async def silence():
        await asyncio.sleep(60)

    with pytest.raises(ApiUnavailable, match="GET Pod team-a/p: the API server did not answer in time"):
        call(tmp_path, Server(silence), lambda c: c.get(PODS, "team-a", "p"))


def test_no_server_is_unavailable(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        kubeconfig = write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{taken.getsockname()[1]}", token="t")

        async def main():
            async with KubeClient.session(kubeconfig) as client:
                await client.get(PODS, "team-a", "p")

        with pytest.raises(ApiUnavailable, match="GET Pod team-a/p: no connection to the API server"):
            asyncio.run(main())


WRITES = {
    "create": lambda c: c.create(CONFIGMAPS, CONFIGMAP),
    "apply": lambda c: c.apply(CONFIGMAPS, CONFIGMAP),
    "merge_patch": lambda c: c.merge_patch(CONFIGMAPS, "team-a", "x", {"data": None}),
    "replace": lambda c: c.replace(CONFIGMAPS, CONFIGMAP),
    "patch_status": lambda c: c.patch_status(JOBS, {"metadata": {"name": "j", "uid": "u", "resourceVersion": "1"}}, {}),
    "delete": lambda c: c.delete(CONFIGMAPS, "team-a", "x", uid="u"),
    "request": lambda c: c.request("POST", "/api/v1/anything"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_without_the_lease_no_write_leaves_the_process(tmp_path, write):
    server = Server()

    with pytest.raises(LeaseLost, match="does not hold the lease"):
        call(tmp_path, server, write, may_write=lambda: False)
    assert server.requests == []


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_write_asks_for_the_lease_at_its_own_time(tmp_path, write):
    held = [True, False]

    async def use(client):
        guarded = client.guarded(lambda: held.pop(0))
        await write(guarded)
        with pytest.raises(LeaseLost):
            await write(guarded)

    call(tmp_path, Server((200, {})), use)
    assert held == []


def test_reads_need_no_lease(tmp_path):
    found = call(
        tmp_path, Server((200, CONFIGMAP)), lambda c: c.get(CONFIGMAPS, "team-a", "x"), may_write=lambda: False
    )
    assert found == CONFIGMAP


def test_apply_sends_kind_field_manager_and_force(tmp_path):
    server = Server((200, {}))
    call(tmp_path, server, lambda c: c.apply(CONFIGMAPS, CONFIGMAP))

    [(method, path, query, headers, body)] = server.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/team-a/configmaps/x")
    assert query == {"fieldManager": "headrace", "force": "true"}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(body) == {"apiVersion": "v1", "kind": "ConfigMap", **CONFIGMAP}


def test_a_list_is_read_in_pages_and_its_items_say_what_they_are(tmp_path):
    server = Server(
        (200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
    )
    found = call(tmp_path, server, lambda c: c.list(PODS, "team-a", "app=x"))

    assert [(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]) for obj in found] == [
        ("v1", "Pod", "a"),
        ("v1", "Pod", "b"),
    ]
    assert [query for _, _, query, _, _ in server.requests] == [
        {"limit": "500", "labelSelector": "app=x"},
        {"limit": "500", "labelSelector": "app=x", "continue": "more"},
    ]


def test_a_list_whose_pages_expired_is_read_again_in_one(tmp_path):
    server = Server(
        (200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        status_body(410, "Expired", "too old"),
        (200, {"metadata": {}, "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}),
    )
    found = call(tmp_path, server, lambda c: c.list(PODS))

    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert server.requests[-1][2] == {}


def test_a_status_is_only_replaced_on_an_object_that_was_read(tmp_path):
    with pytest.raises(ValueError, match=r"metadata\.uid"):
        call(
            tmp_path, Server(), lambda c: c.patch_status(JOBS, {"metadata": {"name": "j", "resourceVersion": "1"}}, {})
        )


def test_a_new_token_in_the_kubeconfig_is_used_after_a_minute_and_no_token_is_in_an_error(tmp_path, monkeypatch):
    server = Server((200, {}), (200, {}), status_body(401, "Unauthorized", "Unauthorized"))

    async def use(client):
        await client.get(PODS, "team-a", "p")
        write_kubeconfig(tmp_path / "kubeconfig", client.credentials.endpoint.server, token="secret-2")
        await client.get(PODS, "team-a", "p")
        monkeypatch.setattr(credentials_module, "TOKEN_SECONDS", 0.0)
        await client.get(PODS, "team-a", "p")

    with pytest.raises(Forbidden) as raised:
        call(tmp_path, server, use)
    assert [headers["Authorization"] for _, _, _, headers, _ in server.requests] == [
        "Bearer secret-1",
        "Bearer secret-1",
        "Bearer secret-2",
    ]
    assert "secret" not in str(raised.value)


def test_the_token_of_a_pod_is_read_again_from_its_file(tmp_path, monkeypatch):
    from kubernetes.aio.config import incluster_config

    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    certificate.write_text("any")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))

    async def main():
        credentials = await credentials_module.Credentials.load()
        assert credentials.endpoint.server == "https://10.96.0.1:443"
        before = await credentials.headers()
        token.write_text("second")
        monkeypatch.setattr(credentials_module, "TOKEN_SECONDS", 0.0)
        after = await credentials.headers()
        token.unlink()
        with pytest.raises(ApiUnavailable, match="credentials for the API server cannot be read"):
            await credentials.headers()
        return before, after

    assert asyncio.run(main()) == ({"Authorization": "bearer first"}, {"Authorization": "bearer second"})


def test_an_exec_plugin_says_who_we_are(tmp_path):
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t1"}}
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [json.dumps(credential)],
        "interactiveMode": "Never",
    }
    kubeconfig = write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", exec=plugin)

    async def main():
        return await (await credentials_module.Credentials.load(kubeconfig)).headers()

    assert asyncio.run(main()) == {"Authorization": "Bearer t1"}


def test_a_missing_kubeconfig_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"kubeconfig .*nowhere does not exist: name one"):
        asyncio.run(KubeClient.connect(tmp_path / "nowhere"))
