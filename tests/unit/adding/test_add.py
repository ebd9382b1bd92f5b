"""The way of a given model up to its request: what stops it, before anything is made, and in which words."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket

import pytest
from aiohttp import web

from headrace.adding import bucket
from headrace.adding.add import Adding
from headrace.adding.errors import CannotAdd
from headrace.adding.given import Given
from headrace.adding.request import Origin, Wish
from headrace.applied import CannotRun
from headrace.kube.errors import Forbidden, Invalid
from headrace_common.formats import ModelFormat
from headrace_common.manifest import File

WISH = Wish("team-a", "theirs", "added", secret="headrace-storage")
ORIGIN = Origin("s3://bucket-of-a/theirs.onnx", format=ModelFormat.ONNX)
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
SUCCEEDED = {"state": "Succeeded", "model": {"name": "team-a.theirs", "version": "1"}}


class Cluster:
    """Has a tenant, perhaps a Secret and a job; a job that is applied succeeds at once."""

    def __init__(self, *, is_tenant=True, secret=None, job=None, endpoint="http://127.0.0.1:1", refused=()):
        self.applied, self._is_tenant, self._secret, self._job = [], is_tenant, secret, job
        self._refused, self.status = refused, SUCCEEDED
        self._tenant = {"bucket": "bucket-of-a", "endpoint": endpoint, "region": "us-east-1"}

    async def get(self, resource, namespace, name):
        if resource.kind == "ConfigMap" and name != "headrace-tenant":
            return {"metadata": {"name": name}} if self._job else None
        if resource.kind == "ConfigMap":
            return {"metadata": {"name": name}, "data": self._tenant} if self._is_tenant else None
        if resource.kind == "Secret":
            if isinstance(self._secret, Exception):
                raise self._secret
            return self._secret
        return self._job

    async def apply(self, resource, wanted, field_manager, force, dry_run):
        if resource.kind in self._refused:
            raise Invalid(f"{resource.kind} is invalid")
        made = {**wanted, "metadata": {**wanted["metadata"], "uid": "uid-1"}}
        if not dry_run:
            self.applied.append((resource.kind, wanted["metadata"].get("ownerReferences", [{}])[0].get("uid")))
            if resource.kind == "TrainingJob":
                self._job = {**made, "status": self.status}
        return made


def go(cluster, of, wish=WISH):
    said = []
    adding = Adding(cluster, wish, said.append, seconds=60.0, pause=0.0)
    return asyncio.run(of(adding)), said


def given(tmp_path):
    (tmp_path / "theirs.onnx").write_bytes(b"x")
    return Given(
        ModelFormat.ONNX, tmp_path, (File("theirs.onnx", hashlib.sha256(b"x").hexdigest(), 1),), (), "theirs.onnx"
    )


def secret_of(end=""):
    return {"data": {name: base64.b64encode(f"{text}{end}".encode()).decode() for name, text in KEYS.items()}}


class Store:
    """Keeps what is put, lists it, and deletes it; over HTTP."""

    def __init__(self):
        self.objects, self.requests, self.put = {}, [], []

    async def __call__(self, request):
        body, key = await request.read(), request.path.removeprefix("/bucket-of-a").removeprefix("/")
        self.requests.append(request.headers["Authorization"])
        if request.method == "PUT":
            self.objects[key] = body
            self.put.append(key)
        elif request.method == "DELETE":
            self.objects.pop(key)
        listed = "".join(
            f"<Contents><Key>{k}</Key><Size>{len(v)}</Size><ETag>&quot;{hashlib.md5(v).hexdigest()}&quot;</ETag></Contents>"
            for k, v in self.objects.items()
        )
        return web.Response(text=f"<ListBucketResult>{listed}</ListBucketResult>", headers={"ETag": '"e"'})


def go_with(store, cluster, of, seconds=60.0):
    said = []

    async def act():
        runner = web.ServerRunner(web.Server(store))
        await runner.setup()
        await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            return await of(Adding(cluster, WISH, said.append, seconds=seconds, s3_url=url, pause=0.0))
        finally:
            await runner.cleanup()

    return asyncio.run(act()), said


def test_the_program_is_there_before_the_job_and_belongs_to_it_afterwards():
    cluster = Cluster()
    job, _ = go(cluster, lambda adding: adding.of_address(ORIGIN))
    assert cluster.applied == [("ConfigMap", None), ("TrainingJob", None), ("ConfigMap", "uid-1")]
    assert job["status"]["model"]["version"] == "1"


def test_a_job_that_was_asked_for_before_is_waited_for_and_not_made_anew():
    cluster = Cluster(job={"metadata": {"name": "x", "uid": "uid-0"}, "status": SUCCEEDED})
    _, said = go(cluster, lambda adding: adding.of_address(ORIGIN))
    assert cluster.applied == [("ConfigMap", "uid-0")]
    assert "was asked for before" in said[0]


@pytest.mark.parametrize("kind", ["ConfigMap", "TrainingJob"])
def test_to_delete_what_is_refused_is_advised_only_where_it_is_there(kind):
    def told(**fields):
        with pytest.raises(CannotRun, match=f"{kind} is invalid") as refused:
            go(Cluster(refused=[kind], **fields), lambda adding: adding.of_address(ORIGIN))
        return str(refused.value)

    assert "delete" not in told()
    assert f"delete {kind.lower()} add-theirs-" in told(job={"metadata": {"name": "x", "uid": "uid-0"}})


def test_a_job_that_has_failed_before_says_why_and_how_to_ask_again():
    failed = {"state": "Failed", "reason": "BadConfig", "failure": {"message": "no such file"}}
    cluster = Cluster(job={"metadata": {"name": "x", "uid": "uid-0"}, "status": failed})
    with pytest.raises(CannotAdd, match=r"has failed before: Failed BadConfig no such file; .*delete trainingjob"):
        go(cluster, lambda adding: adding.of_address(ORIGIN))
    assert cluster.applied == []


@pytest.mark.parametrize(
    ("secret", "wish", "told"),
    [
        (Forbidden("secrets is forbidden"), WISH, "ask for the right to read Secret headrace-storage"),
        (None, WISH, "there is no Secret 'headrace-storage' in namespace 'team-a'"),
        ({"data": {}}, WISH, "no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in Secret"),
        (None, Wish("team-a", "theirs", "added"), "without a Secret there is no key to upload with"),
    ],
)
def test_without_a_key_nothing_is_made_and_the_way_around_is_told(tmp_path, secret, wish, told):
    cluster = Cluster(secret=secret)
    with pytest.raises(CannotAdd) as refused:
        go(cluster, lambda adding: adding.of_files(given(tmp_path)), wish)
    assert told in str(refused.value)
    assert "upload the model yourself, and name it as s3://BUCKET/KEY" in str(refused.value)
    assert cluster.applied == []


def test_a_namespace_that_is_no_tenant_is_told(tmp_path):
    with pytest.raises(CannotRun, match="namespace 'team-a' is not a tenant: run `headrace tenant add team-a`"):
        go(Cluster(is_tenant=False), lambda adding: adding.of_files(given(tmp_path)))


def test_a_store_that_is_reached_otherwise_from_here_is_told_with_the_flag(tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "TRIES", 1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        cluster = Cluster(secret=secret_of(), endpoint=endpoint)
        with pytest.raises(CannotAdd) as refused:
            go(cluster, lambda adding: adding.of_files(given(tmp_path)))
    assert str(refused.value).startswith(f"S3 store at {endpoint}: GET of s3://bucket-of-a/")
    assert "name it with --s3-url" in str(refused.value)
    assert cluster.applied == []


PLACE = "headrace/added/team-a.theirs/"
FAILED = {"state": "Failed", "reason": "UserCode", "failure": {"message": "not the file that was given"}}
NO_VERSION = {"state": "Succeeded", "reason": "GateFailed", "model": {}}


def test_the_newline_of_a_secrets_file_is_no_part_of_the_key(tmp_path):
    store = Store()
    go_with(store, Cluster(secret=secret_of("\n")), lambda adding: adding.of_files(given(tmp_path)))
    assert all("Credential=a/" in each for each in store.requests)


@pytest.mark.parametrize("status", [FAILED, NO_VERSION])
def test_what_was_uploaded_for_a_job_that_ended_without_a_version_is_taken_away(tmp_path, status):
    cluster, store = Cluster(secret=secret_of()), Store()
    cluster.status = status
    with pytest.raises(CannotRun, match=status["reason"]):
        go_with(store, cluster, lambda adding: adding.of_files(given(tmp_path)))
    assert len(store.requests) > 3
    assert store.objects == {}


def test_of_a_job_that_has_failed_before_too(tmp_path):
    store = Store()
    store.objects[f"{PLACE}x/theirs.onnx"] = b"y"
    cluster = Cluster(secret=secret_of(), job={"metadata": {"name": "x", "uid": "uid-0"}, "status": FAILED})
    with pytest.raises(CannotAdd, match="has failed before"):
        go_with(store, cluster, lambda adding: adding.of_files(given(tmp_path)))
    assert store.objects == {}


def test_what_stays_for_a_job_that_goes_on_is_told(tmp_path):
    cluster, store = Cluster(secret=secret_of()), Store()
    cluster.status = {"state": "Running"}
    with pytest.raises(CannotRun, match=f"stays at s3://bucket-of-a/{PLACE}") as told:
        go_with(store, cluster, lambda adding: adding.of_files(given(tmp_path)), seconds=0.0)
    assert "was not done in time" in str(told.value)
    assert any(key.startswith(PLACE) for key in store.objects)


def test_what_lies_there_with_as_many_other_bytes_is_sent_anew(tmp_path):
    """One that the store tells the sum of; the same file is not sent again."""
    sent = []
    for there in (b"y", b"x"):
        store, model = Store(), given(tmp_path)
        store.objects[key := f"{PLACE}{model.digest.removeprefix('sha256:')}/theirs.onnx"] = there
        cluster = Cluster(secret=secret_of())
        cluster.status = {"state": "Running"}  # what was sent stays
        with pytest.raises(CannotRun):
            go_with(store, cluster, lambda adding: adding.of_files(given(tmp_path)), seconds=0.0)
        sent.append(key in store.put)
        assert store.objects[key] == b"x"
    assert sent == [True, False]


def test_a_file_that_is_gone_when_it_is_its_turn_is_told(tmp_path):
    model = given(tmp_path)
    (tmp_path / "theirs.onnx").unlink()
    cluster = Cluster(secret=secret_of())
    with pytest.raises(CannotAdd, match=r"theirs.onnx cannot be read any more: No such file"):
        go_with(Store(), cluster, lambda adding: adding.of_files(model))
    assert cluster.applied == []


def test_an_endpoint_that_is_none_is_told_with_the_flag(tmp_path):
    cluster = Cluster(secret=secret_of(), endpoint="http://store:99999")
    with pytest.raises(CannotAdd, match=r"http://store:99999' is no address: .*--s3-url"):
        go(cluster, lambda adding: adding.of_files(given(tmp_path)))
