"""A proxy in front of a real S3 store, on loopback, that does to requests and answers what a bad network does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class BreakingProxy:
    """`breaks` is asked for each request, by its method, query and Range, whether its connection breaks. `pours` gives
    the pieces in which the content of an answer is sent, by the request's path and Range: slowly, or not all of them,
    and then the connection breaks.
    """

    def __init__(self, port: int) -> None:
        self.breaks: Callable[[str, dict[str, list[str]], str], bool] = lambda *_: False
        self.pours: Callable[[str, str, bytes], Iterable[bytes]] = lambda _path, _range, content: [content]
        self.broken = 0
        self.requests: list[tuple[str, dict[str, list[str]], str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = (self.command, parse_qs(urlsplit(self.path).query, True), self.headers.get("Range", ""))
                proxy.requests.append(request)
                if proxy.breaks(*request):
                    proxy.broken += 1
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length)
                self.end_headers()
                connection.close()
                sent = 0
                with suppress(ConnectionError):  # who asked may be gone
                    for piece in proxy.pours(self.path, request[2], content):
                        self.wfile.write(piece)
                        sent += len(piece)
                    if sent < len(content):
                        proxy.broken += 1
                        self.close_connection = True

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def first_byte(wanted: str) -> int:
    """Of a Range header, which may be empty."""
    return int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
