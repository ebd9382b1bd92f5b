"""Reads that break off. The server here breaks off where it is told to; a real S3 server is in test_load.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace_common.protocol.storage import Storage
from headrace_loader.failures import LoadError, Reason
from headrace_loader.storage import S3Store, read_object

CONTENT = bytes(range(256)) * 40_000


class Flaky(BaseHTTPRequestHandler):
    """Sends at most a third of the object and hangs up; every second request is answered with 503."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FlakyServer)
        server.asked.append(self.headers.get("Range"))
        if len(server.asked) % 2 == 0:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start : start + len(CONTENT) // 3 + 1])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class FlakyServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Flaky)
        self.asked: list[str | None] = []


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    server = FlakyServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(5)
    server.server_close()


def read(server: FlakyServer, **limits: int) -> bytes:
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    store = S3Store("bucket", Storage(endpoint, ""))
    return b"".join(read_object(store, "key", deadline_seconds=10, **{"max_size": len(CONTENT), **limits}))


def test_a_read_that_breaks_off_goes_on_where_it_broke(flaky):
    assert read(flaky) == CONTENT
    assert len(flaky.asked) > 3
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in flaky.asked if asked]
    assert starts == sorted(starts)
    assert starts[-1] > len(CONTENT) // 2


def test_an_object_of_another_size_is_refused_before_it_is_read(flaky):
    with pytest.raises(LoadError) as caught:
        read(flaky, expected_size=len(CONTENT) - 1)
    assert caught.value.reason is Reason.FILE_CORRUPT
    assert len(flaky.asked) == 1


def test_an_object_over_the_limit_is_refused_before_it_is_read(flaky):
    with pytest.raises(LoadError) as caught:
        read(flaky, max_size=1000)
    assert caught.value.reason is Reason.TOO_LARGE
