"""The wait for the gateway: until it knows the route, and not longer than its bound."""

from __future__ import annotations

import http.server
import threading

import pytest

from headrace.gallery.gateway import NoAnswer, await_answer


@pytest.fixture
def gateway():
    """Answers with the statuses of a list, each once, then with the last one again; `(URL, statuses)`."""
    statuses = [200]

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()

        def log_message(self, *arguments):
            """Nothing into the test's output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/team-a/digits/v2/models/digits", statuses
    server.shutdown()
    server.server_close()


def test_a_route_that_the_gateway_does_not_know_yet_is_waited_for(gateway):
    url, statuses = gateway
    statuses[:] = [404, 503, 200]
    await_answer(url, seconds=60, pause=0)
    assert statuses == [200]


def test_a_gateway_that_goes_on_refusing_is_told_with_what_it_said(gateway):
    url, statuses = gateway
    statuses[:] = [404]
    with pytest.raises(NoAnswer, match=r"/v2/models/digits is not answered: 404 Not Found"):
        await_answer(url, seconds=0, pause=0)


def test_an_address_where_nobody_listens_is_told():
    with pytest.raises(NoAnswer, match="Connection refused"):
        await_answer("http://127.0.0.1:1/v2/models/digits", seconds=0, pause=0)


@pytest.mark.parametrize("url", ["gateway/v2", "ftp//x"])
def test_what_is_no_url_is_not_waited_for(url):
    with pytest.raises(NoAnswer, match="unknown url type"):
        await_answer(url, seconds=600, pause=600)
