"""The tenant's bucket: what is made of answers that are not as they should be, over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from headrace.adding.bucket import Bucket, StoreAway, why_no_url
from headrace.adding.errors import CannotAdd
from headrace.tenancy.sigv4 import AccessKey

CONTENT = b"0123456789"
SUM = hashlib.sha256(CONTENT).hexdigest()
BEGUN = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
WHOLE = "<CompleteMultipartUploadResult/>"


def failed(code: str) -> str:
    return f"\n  \n<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>m</Message></Error>".strip("\n") + "\n"


class Store:
    """Answers completions with `answers`, one after the other; `listed` is what it lists."""

    def __init__(self, *answers: str, listed: str = "<ListBucketResult/>") -> None:
        self.answers, self.listed, self.asked = list(answers), listed, []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        completes = request.method == "POST" and "uploadId" in request.query
        self.asked.append("complete" if completes else request.method)
        text = {"POST": BEGUN, "GET": self.listed}.get(request.method, "")
        return web.Response(text=self.answers.pop(0) if completes else text, headers={"ETag": '"e"'})


def with_bucket(store: Callable, act: Callable[[Bucket], Awaitable], **fields):
    async def go():
        server = web.Server(store)
        runner = web.ServerRunner(server)
        await runner.setup()
        await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
        port = site._server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            bucket = Bucket(f"http://127.0.0.1:{port}", "r", "b", AccessKey("i", "s"), session, pause=0.0, **fields)
            try:
                return await asyncio.wait_for(act(bucket), 60)
            finally:
                await runner.cleanup()

    return asyncio.run(go())


def upload(store, path, sha256=SUM, part_bytes=4):
    sent = []
    with_bucket(store, lambda bucket: bucket.upload(path, "k", sha256, sent.append), part_bytes=part_bytes)
    return sent


@pytest.fixture
def path(tmp_path):
    (path := tmp_path / "file").write_bytes(CONTENT)
    return path


def test_each_part_is_heard_of(path):
    assert upload(Store(WHOLE), path) == [4, 4, 2]


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_an_upload_that_could_not_be_completed_is_completed_again(path, code):
    store = Store("   \n" + failed(code), WHOLE)
    upload(store, path)
    assert store.asked.count("complete") == 2
    assert "DELETE" not in store.asked


def test_an_error_in_an_answer_of_200_is_one_however_far_behind_it_stands(path):
    with pytest.raises(CannotAdd, match="EntityTooSmall m"):
        upload(store := Store(" " * 1000 + failed("EntityTooSmall")), path)
    assert store.asked[-1] == "DELETE"


def test_an_upload_that_is_gone_has_been_completed_where_the_object_is_there(path):
    there = "<ListBucketResult><Contents><Key>k</Key><Size>10</Size></Contents></ListBucketResult>"
    upload(Store(failed("InternalError"), failed("NoSuchUpload"), listed=there), path)
    with pytest.raises(CannotAdd, match="NoSuchUpload"):
        upload(Store(failed("InternalError"), failed("NoSuchUpload")), path)


@pytest.mark.parametrize("part_bytes", [4, 100])
def test_a_file_that_was_changed_becomes_no_object(path, part_bytes):
    with pytest.raises(CannotAdd, match="was changed while it was uploaded"):
        upload(store := Store(WHOLE), path, sha256="0" * 64, part_bytes=part_bytes)
    assert "complete" not in store.asked
    assert part_bytes < 100 or "PUT" not in store.asked


@pytest.mark.parametrize("page", ["<html><br></html>", "<html/>", "", "ok"])
def test_a_page_that_is_no_stores_is_told(page):
    with pytest.raises(CannotAdd, match="answers, but not as an S3 store does: is it the address of one"):
        with_bucket(Store(listed=page), lambda bucket: bucket.objects("p"))


def test_a_key_with_a_newline_in_it_is_told():
    async def ask(bucket):
        object.__setattr__(bucket, "token", "a\nb")
        await bucket.objects("p")

    with pytest.raises(CannotAdd, match="it cannot be asked for"):
        with_bucket(Store(), ask)


def test_a_line_that_takes_no_bytes_is_given_up():
    async def go():
        stuck = asyncio.Event()

        async def hold(reader, writer):
            await stuck.wait()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        said = []
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            bucket = Bucket(
                url, "r", "b", AccessKey("i", "s"), session, pause=0.0, request_seconds=0.2, report=said.append
            )
            with pytest.raises(StoreAway, match="no answer"):
                await asyncio.wait_for(bucket.put("k", bytes(32 << 20)), 60)
        stuck.set()
        server.close()
        assert len(said) == 3
        assert said[0].endswith("tries again")

    asyncio.run(go())


@pytest.mark.parametrize(
    "url", ["", "host:7070", "http://", "http://host:99999", "http://[::1", "ftp://host", "http://h:x"]
)
def test_what_is_no_address_is_told(url):
    assert "is no address" in (why_no_url(url) or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:7070", "https://s3.eu.example.org", "http://[::1]:80/"])
def test_addresses_are_fine(url):
    assert why_no_url(url) is None
