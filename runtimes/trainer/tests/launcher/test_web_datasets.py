"""Datasets from https://, from a real server: what came is what was asked for, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
from collections import namedtuple
from dataclasses import replace

import pytest
from web_server import WebServer, redirected

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_local.certificates import Authority, Subject
from headrace_trainer.launcher.datasets.download import check, download
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.digests import digest

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def web(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.files.certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = WebServer(authority.issue("web", Subject("web", addresses=("127.0.0.1",))))
    server.files["/words.csv"] = CONTENT
    yield server
    server.close()


@pytest.fixture
def dataset(web, tmp_path):
    return Dataset("words", f"{web.url}/words.csv?key=secret", tmp_path / "words.csv", SHA256)


def fetch(dataset, outage_seconds=5.0):
    origin = origin_of(dataset, None, outage_seconds)
    download(dataset, origin.objects(dataset), origin)
    check(dataset, digest(dataset.path))
    return dataset.path.read_bytes()


def failure_of(dataset, outage_seconds=5.0):
    with pytest.raises(Failed) as raised:
        fetch(dataset, outage_seconds)
    assert "dataset words" in raised.value.failure.message
    assert "secret" not in raised.value.failure.message
    assert not list(dataset.path.parent.glob("*.part"))
    return raised.value.failure


def breaking_off(web, after, times):
    """Answers of which only so many bytes come."""

    def answer(request):
        if len(web.requests) <= times:
            request.send_file(CONTENT, after)
            request.close_connection = True
            return True
        return False

    web.answer = answer


def test_a_file_comes_as_it_is(web, dataset):
    assert fetch(dataset) == CONTENT
    assert web.requests == [("/words.csv?key=secret", None)]
    assert dataset.path.stat().st_mode & 0o222 == 0


def test_what_broke_off_goes_on_where_it_was(web, dataset, capsys):
    breaking_off(web, 1 << 20, 2)
    assert fetch(dataset) == CONTENT
    assert [begin for _, begin in web.requests] == [None, f"bytes={1 << 20}-", f"bytes={2 << 20}-"]
    told = capsys.readouterr().err
    assert "dataset words" in told
    assert "secret" not in told


def test_a_server_that_cannot_say_which_file_it_is_begins_anew(web, dataset):
    web.tags = False
    breaking_off(web, 1 << 20, 1)
    assert fetch(dataset) == CONTENT
    assert [begin for _, begin in web.requests] == [None, None]


def test_another_file_at_the_address_since_the_break_is_read_from_its_start(web, dataset):
    old = b"older" * 600_000

    def answer(request):
        if len(web.requests) == 1:
            request.send_file(old, 1 << 20)
            request.close_connection = True
            return True
        return False

    web.answer = answer
    assert fetch(dataset) == CONTENT


@pytest.mark.parametrize("tags", [True, False])
def test_one_that_always_breaks_off_is_given_up(web, dataset, tags):
    """With what names the file nothing more comes, without it the same comes again and again."""

    def answer(request):
        request.send_file(CONTENT, 0 if tags else 1000)
        request.close_connection = True
        return True

    web.tags, web.answer = tags, answer
    failure = failure_of(dataset, 2.0)
    assert failure.reason is Reason.STORAGE_UNAVAILABLE
    assert "broke off" in failure.message


def test_a_server_that_is_away_is_waited_for(web, dataset):
    def answer(request):
        if len(web.requests) <= 2:
            request.send_error(503)
            return True
        return False

    web.answer = answer
    assert fetch(dataset) == CONTENT


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.DATASET_NOT_FOUND),
        (410, Reason.DATASET_NOT_FOUND),
        (403, Reason.DATASET_FORBIDDEN),
        (414, Reason.DATASET_FORBIDDEN),
        (501, Reason.DATASET_FORBIDDEN),
    ],
)
def test_what_a_server_refuses_is_final(web, dataset, status, reason):
    def answer(request):
        request.send_error(status)
        return True

    web.answer = answer
    failure = failure_of(dataset)
    assert failure.reason is reason
    assert str(status) in failure.message
    assert len(web.requests) == 1


def test_a_rest_may_come_in_several_parts(web, dataset):
    """A server need not send all that is asked for."""

    def answer(request):
        asked = request.headers.get("Range")
        if asked is None:
            request.send_file(CONTENT, 1000)
            request.close_connection = True
            return True
        begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        part = CONTENT[begin : begin + (1 << 20)]
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(CONTENT)}")
        request.send_header("Content-Length", str(len(part)))
        request.send_header("ETag", request.headers["If-Range"])
        request.end_headers()
        request.wfile.write(part)
        return True

    web.answer = answer
    assert fetch(dataset) == CONTENT


def test_a_rest_that_a_server_has_not_is_asked_for_from_the_start(web, dataset):
    """It broke off when all was there, and nothing had said how much that is."""
    content = CONTENT[: 2 << 20]
    web.files["/words.csv"] = content
    dataset = replace(dataset, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")

    def answer(request):
        if len(web.requests) == 1:
            request.send_response(200)
            request.send_header("ETag", '"1"')
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            request.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            request.close_connection = True
            return True
        if request.headers.get("Range"):
            request.send_error(416)
            return True
        return False

    web.answer = answer
    assert fetch(dataset) == content
    assert [begin for _, begin in web.requests] == [None, f"bytes={2 << 20}-", None]


def test_redirects_are_followed(web, dataset):
    web.files["/elsewhere.csv"] = web.files.pop("/words.csv")
    web.answer = lambda request: "words" in request.path and redirected(request, "/elsewhere.csv")
    assert fetch(dataset) == CONTENT


@pytest.mark.parametrize("to", ["/words.csv", "http://127.0.0.1:1/words.csv", "file:///etc/passwd"])
def test_redirects_in_a_circle_or_to_what_is_not_https_are_not(web, dataset, to):
    web.answer = lambda request: redirected(request, to)
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "redirected" in failure.message
    assert len(web.requests) <= 6


def test_another_file_is_not_trained_on(web, dataset):
    web.files["/words.csv"] = b"other"
    failure = failure_of(dataset)
    assert failure.reason is Reason.DATASET_CHANGED
    assert SHA256 in failure.message
    assert hashlib.sha256(b"other").hexdigest() in failure.message
    assert "sha256" in failure.hint


def test_what_the_disk_has_no_room_for_is_not_begun(web, dataset, monkeypatch):
    room = namedtuple("Room", ["f_bavail", "f_frsize"])
    monkeypatch.setattr(os, "fstatvfs", lambda _: room(1, 4096))
    failure = failure_of(dataset)
    assert failure.reason is Reason.STORAGE_UNAVAILABLE
    assert f"{len(CONTENT)} bytes, and the disk has room for 4096" in failure.message
    assert "ephemeral-storage" in failure.hint


def test_a_server_that_nobody_vouches_for_is_not_believed_nor_asked_again(web, dataset, monkeypatch, capsys):
    monkeypatch.delenv("SSL_CERT_FILE")
    failure = failure_of(dataset, 600.0)  # which would be the test's own time limit
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "certificate verify failed" in failure.message
    assert "SSL_CERT_FILE in podTemplate" in failure.hint
    assert "trying again" not in capsys.readouterr().err


def test_a_training_finds_it_and_its_run_lists_it_without_what_may_be_a_key(program, web, mlflow, tmp_path):
    """No storage is needed for it."""
    path = tmp_path / "data" / "words"
    config = {
        "protocol": 2,
        "tracking": mlflow.experiment("web", "file:///nowhere"),
        "datasets": [
            {"name": "words", "uri": f"{web.url}/words.csv?key=secret", "path": str(path), "digest": SHA256},
        ],
    }
    launched = program(f"print('found', len(open('{path}', 'rb').read()))", config=config)
    assert launched.wait() == 0, launched.log
    assert f"found {len(CONTENT)}" in launched.log
    assert "secret" not in launched.log

    [run] = mlflow.runs(config["tracking"]["experimentId"])
    [used] = [found["dataset"] for found in run["inputs"]["dataset_inputs"]]
    assert (used["name"], used["digest"], used["source_type"]) == ("words", SHA256[7:39], "http")
    assert json.loads(used["source"]) == {"url": f"{web.url}/words.csv"}


def test_an_address_may_have_letters_that_are_not_ascii(web, dataset):
    web.files["/w%C3%B6rter.csv"] = CONTENT
    assert fetch(replace(dataset, uri=f"{web.url}/wörter.csv?key=secret")) == CONTENT


@pytest.mark.parametrize("host", ["a..b", "a:port"])
def test_an_address_of_no_host_is_final(dataset, host):
    failure = failure_of(replace(dataset, uri=f"https://{host}/words.csv?key=secret"))
    assert failure.reason is Reason.DATASET_FORBIDDEN


def test_what_a_redirect_has_as_a_password_is_not_told(web, dataset, capsys):
    web.answer = lambda request: redirected(request, "https://user:secret@127.0.0.1/x")
    failure_of(dataset, 0.5)
    assert "secret" not in capsys.readouterr().err
