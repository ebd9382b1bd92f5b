"""Datasets from webhdfs://: from a real HDFS where it is installed (`scripts/test clouds`), and, for what a NameNode
may do wrong, from one that answers as it is told.
"""

from __future__ import annotations

import getpass
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from emulators import INSTALLED, Hdfs

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.origins import webhdfs
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.failures.judge import Failed

LARGE = bytes(range(256)) * 8_000  # 2 MB
needs_hdfs = pytest.mark.skipif(not (INSTALLED / "hdfs").is_dir(), reason="scripts/environment clouds installs HDFS")


def fetch(dataset, objects=None):
    origin = origin_of(dataset, None, 1.0)
    download(dataset, origin.objects(dataset) if objects is None else objects, origin)


def failure_of(dataset, objects=None):
    with pytest.raises(Failed) as raised:
        fetch(dataset, objects)
    assert raised.value.failure.message.startswith("dataset d: webhdfs://")
    assert "secret" not in f"{raised.value.failure}"
    return raised.value.failure


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.delenv(webhdfs.USER, raising=False)
    monkeypatch.delenv(webhdfs.TOKEN, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory):
    server = Hdfs(tmp_path_factory.mktemp("hdfs"))
    try:
        server.start()
        server.await_up()
        for path in ("raw/a.txt", "raw/deep/b ä.txt", "raw/deep/%41?.txt", "raw-of-others/c.txt"):
            server.put(path, path.encode())
        for number in range(7):  # more than are told at once
            server.put(f"many/{number}", str(number).encode())
        server.put("large.bin", LARGE)
        server.make_folder("raw/empty", "755")
        server.put("mine/x", b"x", mode="600")
        yield server
    finally:
        server.stop()


@needs_hdfs
def test_a_file_is_a_file_and_a_folder_all_below_it(hdfs, tmp_path, monkeypatch):
    monkeypatch.setattr(webhdfs, "_PART_BYTES", 600_000)
    fetch(Dataset("d", f"{hdfs.uri}/large.bin", tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == LARGE
    fetch(Dataset("d", f"{hdfs.uri}/raw/", tmp_path / "raw"))
    found = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "raw").rglob("*.txt")}
    assert found == {"raw/a.txt", "raw/deep/b ä.txt", "raw/deep/%41?.txt"}
    assert all((tmp_path / path).read_text() == path for path in found)
    fetch(Dataset("d", f"{hdfs.uri}/many", tmp_path / "many"))
    assert sorted(path.read_text() for path in (tmp_path / "many").iterdir()) == list("0123456")


@needs_hdfs
@pytest.mark.parametrize("change", ["written anew", "gone"])
def test_what_has_changed_since_it_was_listed_is_named(hdfs, tmp_path, change):
    hdfs.put("changing/x", b"first")
    dataset = Dataset("d", f"{hdfs.uri}/changing", tmp_path / "d")
    listed = origin_of(dataset, None, 1.0).objects(dataset)
    hdfs.delete("changing/x")
    if change == "written anew":
        hdfs.put("changing/x", b"other")  # of the same length
    failure = failure_of(dataset, listed)
    assert failure.reason is Reason.DATASET_CHANGED
    assert f"/changing/x {'was ' if change == 'written anew' else 'is '}{change}" in failure.message


@needs_hdfs
def test_what_is_not_there_or_may_not_be_read_is_told(hdfs, tmp_path, monkeypatch):
    assert failure_of(Dataset("d", f"{hdfs.uri}/nothing", tmp_path / "d")).reason is Reason.DATASET_NOT_FOUND
    assert failure_of(Dataset("d", f"{hdfs.uri}/raw/empty", tmp_path / "d")).reason is Reason.DATASET_NOT_FOUND
    monkeypatch.setenv(webhdfs.USER, "somebody")
    failure = failure_of(Dataset("d", f"{hdfs.uri}/mine", tmp_path / "d"))
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "AccessControlException: Permission denied: user=somebody" in failure.message


class NameNode:
    """Answers each operation by what is told of it: status, headers, body."""

    def __init__(self):
        self.answers, self.asked, told = {}, [], self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                query = parse_qs(urlsplit(self.path).query)
                told.asked.append(query)
                status, headers, body = told.answers[query["op"][0]](query)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def says(self, operation, status, body, **headers):
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[operation] = lambda _: (status, headers, encoded)


@pytest.fixture
def namenode():
    node = NameNode()
    node.says("GETFILESTATUS", 200, status_of(6))
    node.says("OPEN", 200, b"words\n")
    yield node
    node.server.shutdown()
    node.server.server_close()


@pytest.fixture
def dataset(namenode, tmp_path):
    return Dataset("d", f"webhdfs://{namenode.host}/words.txt", tmp_path / "d")


def status_of(length, number=7):
    return {"FileStatus": {"type": "FILE", "length": length, "fileId": number, "modificationTime": 1, "pathSuffix": ""}}


def refused(name, message="no"):
    return {"RemoteException": {"exception": name, "javaClassName": f"x.{name}", "message": message}}


def test_who_reads_is_the_token_or_the_user(namenode, dataset, monkeypatch):
    monkeypatch.setenv(webhdfs.USER, "ann")
    fetch(dataset)
    assert all(query["user.name"] == ["ann"] for query in namenode.asked)
    namenode.asked.clear()
    monkeypatch.setenv(webhdfs.TOKEN, "secret\n")
    dataset.path.unlink()
    fetch(dataset)
    assert all(query["delegation"] == ["secret"] and "user.name" not in query for query in namenode.asked)


@pytest.mark.parametrize(
    ("status", "body", "reason", "told"),
    [
        (403, refused("AccessControlException", "Permission denied: user=x\n\tat y"), "DatasetForbidden", "user=x"),
        (403, refused("InvalidToken", "token is expired"), "DatasetForbidden", "InvalidToken: token is expired"),
        (
            401,
            b"<html>Authentication required</html>",
            "DatasetForbidden",
            "it answers 401 : it wants to know who reads",
        ),
        (404, refused("FileNotFoundException"), "DatasetNotFound", "there is no such file or folder"),
        (404, b"<html>", "DatasetForbidden", "this is no WebHDFS: it answers 404"),
        (200, b"<html>", "DatasetForbidden", "this is no WebHDFS: it answers something else"),
        (200, {"FileStatus": 1}, "DatasetForbidden", "this is no WebHDFS: it answers something else"),
        (403, refused("StandbyException"), "StorageUnavailable", "did not answer in time: it answers 403 StandbyExc"),
        (503, b"", "StorageUnavailable", "did not answer in time: it answers 503"),
        (501, b"", "DatasetForbidden", "this is no WebHDFS: it answers 501"),
    ],
    ids=["denied", "token", "kerberos", "missing", "a web server", "a page", "no status", "standby", "away", "never"],
)
def test_each_refusal_is_one_failure(namenode, dataset, monkeypatch, status, body, reason, told):
    monkeypatch.setenv(webhdfs.TOKEN, "secret")
    namenode.says("GETFILESTATUS", status, body)
    failure = failure_of(dataset)
    assert failure.reason == reason
    assert told in failure.message
    assert "\n" not in failure.message


def test_one_that_starts_is_waited_for_and_what_broke_off_goes_on(namenode, dataset, capsys):
    tries = []

    def open_(query):
        tries.append(query)
        if len(tries) == 1:
            return 403, {}, json.dumps(refused("RetriableException")).encode()
        if len(tries) == 2:
            return 200, {"Content-Length": "6"}, b"wor"
        return 200, {}, b"ds\n"

    namenode.answers["OPEN"] = open_
    fetch(dataset)
    assert dataset.path.read_text() == "words\n"
    assert [query["offset"] for query in tries] == [["0"], ["0"], ["3"]]
    assert "does not answer, trying again: it answers 403 RetriableException" in capsys.readouterr().err


def test_all_requests_of_one_read_have_one_time(namenode, dataset):
    """The script waits for the whole of it."""
    origin = origin_of(dataset, None, 0.8)
    (one,) = origin.objects(dataset)
    assert origin.read(dataset, one, 0, 6) == b"words\n"
    waits = iter([True, False] * 3)  # each request is answered at its second try, half a second later
    found = {"GETFILESTATUS": json.dumps(status_of(6)).encode(), "OPEN": b"words\n"}
    for operation, body in found.items():
        namenode.answers[operation] = lambda _, body=body: (503, {}, b"") if next(waits) else (200, {}, body)
    with pytest.raises(Failed, match="did not answer in time"):
        origin.read(dataset, one, 0, 6)


def test_what_comes_too_slowly_is_no_answer(namenode, dataset, monkeypatch):
    monkeypatch.setattr(webhdfs, "_STREAMED_BYTES", 4)
    origin = origin_of(dataset, None, 0.2)
    (one,) = origin.objects(dataset)

    def open_(_):
        time.sleep(0.3)
        return 200, {}, b"words\n"

    namenode.answers["OPEN"] = open_
    with pytest.raises(Failed, match="only 4 of 6 bytes came"):
        origin.read(dataset, one, 0, 6)


def test_a_name_that_is_too_long_for_a_file_is_told(namenode, dataset):
    namenode.says("GETFILESTATUS", 200, {"FileStatus": {**status_of(0)["FileStatus"], "type": "DIRECTORY"}})
    entry = {"type": "FILE", "pathSuffix": "ä" * 126, "length": 0, "modificationTime": 1}
    listing = {"partialListing": {"FileStatuses": {"FileStatus": [entry]}}, "remainingEntries": 0}
    namenode.says("LISTSTATUS_BATCH", 200, {"DirectoryListing": listing})
    with pytest.raises(Failed, match="has a part longer than 250 bytes") as raised:
        fetch(dataset)
    assert raised.value.failure.reason is Reason.DATASET_FORBIDDEN


@pytest.mark.parametrize("status", [400, 414])
def test_a_path_that_is_too_long_for_a_datanode_is_told_at_once(namenode, tmp_path, status):
    namenode.says("OPEN", status, b"<h1>Bad Message 400</h1><pre>reason: No Host</pre>")  # as the one of Hadoop 3.5
    failure = failure_of(
        Dataset("d", f"webhdfs://{namenode.host}/{'long' * 20}/{'/'.join(['x' * 200] * 21)}", tmp_path)
    )
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert f"it answers {status} to a path of 43" in failure.message
    assert "shorter names" in failure.hint


@needs_hdfs
def test_a_real_datanode_tells_it_so(hdfs, tmp_path, monkeypatch):
    monkeypatch.setenv(webhdfs.USER, getpass.getuser())
    hdfs.put("/".join(["a" * 250] * 9) + "/x", b"x")
    hdfs.make_folder("/".join(["b" * 250] * 9), "755")
    hdfs.rename("a" * 250, "/".join(["b" * 250] * 9) + "/c")
    path = "/".join([*["b" * 250] * 9, "c", *["a" * 250] * 8, "x"])
    assert "bytes, with what is asked of it" in failure_of(Dataset("d", f"{hdfs.uri}/{path}", tmp_path / "d")).message


def test_what_no_disk_can_name_is_the_dataset_s_fault(namenode, tmp_path):
    """A folder of HDFS may be deeper than a path on the pod's disk."""
    depths = iter(range(30))

    def listing(_):
        kind = "DIRECTORY" if next(depths) < 20 else "FILE"
        entry = {"type": kind, "pathSuffix": "x" * 240, "length": 0, "modificationTime": 1}
        part = {"partialListing": {"FileStatuses": {"FileStatus": [entry]}}, "remainingEntries": 0}
        return 200, {}, json.dumps({"DirectoryListing": part}).encode()

    namenode.says("GETFILESTATUS", 200, {"FileStatus": {**status_of(0)["FileStatus"], "type": "DIRECTORY"}})
    namenode.answers["LISTSTATUS_BATCH"] = listing
    failure = failure_of(Dataset("d", f"webhdfs://{namenode.host}/deep", tmp_path / "d"))
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "would be longer than a file's path may be" in failure.message


@pytest.mark.parametrize("place", ["http://[x:1/webhdfs/v1/", "http://a..b:1/webhdfs/v1/", "http://a:port/webhdfs/v1/"])
def test_a_redirect_to_a_host_that_is_none_is_told(namenode, dataset, place):
    namenode.says("OPEN", 307, b"", Location=place)
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "there is no host of such a name" in failure.message


def test_one_that_changes_while_it_is_read_is_told(namenode, dataset):
    told = iter([1, 1, 2])
    namenode.answers["GETFILESTATUS"] = lambda _: (200, {}, json.dumps(status_of(6, next(told))).encode())
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_CHANGED
    assert not os.path.exists(dataset.path)


@pytest.mark.parametrize("place", ["https://127.0.0.1:1/x", "file:///etc/passwd", "/again?op=OPEN"])
def test_it_leads_to_no_other_protocol_and_not_in_a_circle(namenode, dataset, place):
    namenode.says("OPEN", 307, b"", Location=place)
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "redirected more than 3 times, in a circle, or to what is not http://" in failure.message


def test_a_folder_that_is_listed_from_its_start_again_and_again_is_given_up(namenode, dataset):
    namenode.says("GETFILESTATUS", 200, {"FileStatus": {**status_of(0)["FileStatus"], "type": "DIRECTORY"}})
    entry = {"type": "FILE", "pathSuffix": "x", "length": 0, "modificationTime": 1}
    listing = {"partialListing": {"FileStatuses": {"FileStatus": [entry]}}, "remainingEntries": 1}
    namenode.says("LISTSTATUS_BATCH", 200, {"DirectoryListing": listing})
    assert "it lists the same files again" in failure_of(dataset).message


def test_a_link_below_a_folder_is_refused(namenode, dataset):
    namenode.says("GETFILESTATUS", 200, {"FileStatus": {**status_of(0)["FileStatus"], "type": "DIRECTORY"}})
    entry = {"type": "SYMLINK", "pathSuffix": "x", "length": 0, "modificationTime": 1}
    listing = {"partialListing": {"FileStatuses": {"FileStatus": [entry]}}, "remainingEntries": 0}
    namenode.says("LISTSTATUS_BATCH", 200, {"DirectoryListing": listing})
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "words.txt/x is a link" in failure.message
