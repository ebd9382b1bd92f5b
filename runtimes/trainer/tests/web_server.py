"""A web server of files, real and on loopback, which can break off, redirect and refuse as it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from headrace_local.certificates import KeyPair


class WebServer:
    """`files` by their paths; `answer` may take a request over: it says whether it did."""

    def __init__(self, pair: KeyPair) -> None:
        self.files: dict[str, bytes] = {}
        self.tags = True
        self.requests: list[tuple[str, str | None]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], bool] = lambda request: False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, self.headers.get("Range")))
                if not server.answer(self):
                    self.send_file(server.files.get(self.path.partition("?")[0]))

            def send_file(self, content: bytes | None, most: int | None = None) -> None:
                """`most` is how much of it comes before the connection breaks."""
                if content is None:
                    self.send_error(404)
                    return
                tag, begin = f'"{hash(content)}"', 0
                if self.headers.get("Range") and self.headers.get("If-Range") == tag:
                    begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                self.send_response(206 if begin else 200)
                if begin:
                    self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - begin))
                if server.tags:
                    self.send_header("ETag", tag)
                self.end_headers()
                self.wfile.write(content[begin:] if most is None else content[begin : begin + most])

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def redirected(request: BaseHTTPRequestHandler, to: str) -> bool:
    """Answers with another address."""
    request.send_response(302)
    request.send_header("Location", to)
    request.send_header("Content-Length", "0")
    request.end_headers()
    return True
