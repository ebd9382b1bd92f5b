"""The load client: a fixed rate whatever the server does, answers counted by version, failures by kind."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from headrace_local.quickstart import traffic

ANSWER = b'{"model_name":"m","model_version":"7","outputs":[]}'


class Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def server(status: int, before_answer: Callable[[], object] = bool) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            before_answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *arguments):
            pass

    httpd = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(timeout=5)


def send(url: str, until: Callable[[traffic.Tally], bool]) -> traffic.Tally:
    deadline = time.monotonic() + 60
    with traffic.running(url, "{}", lambda line: None) as tally:
        while not until(tally):
            assert time.monotonic() < deadline, tally.line()
            time.sleep(0.02)
    return tally


def test_answers_are_counted_by_the_version_that_gave_them():
    with server(200) as url:
        tally = send(url, lambda tally: tally.answered.total() >= 10)

    assert set(tally.answered) == {"7"}
    assert not tally.failed


def test_a_slow_server_is_sent_no_fewer_requests():
    """None is answered before ten of them wait for their answers."""
    waiting, are_ten = itertools.count(1), threading.Event()

    def wait_for_others() -> None:
        if next(waiting) == 10:
            are_ten.set()
        are_ten.wait(60)

    with server(200, before_answer=wait_for_others) as url:
        send(url, lambda tally: tally.answered.total() >= 10)


def test_refused_requests_are_failures_with_their_status():
    with server(503) as url:
        tally = send(url, lambda tally: tally.failed.total() >= 5)

    assert set(tally.failed) == {"status 503"}
    assert not tally.answered


def test_a_server_that_is_away_is_a_failure_and_no_end():
    with server(200) as url:
        pass

    send(url, lambda tally: tally.failed.total() > 1)
