"""A package index (PEP 503) on loopback, with wheels made for the test; as a proxy it lets nobody through."""

import base64
import hashlib
import os
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from headrace_local.certificates import KeyPair
from wheels import wheel

USER, PASSWORD = "reader", "open-sesame"


class PackageIndex:
    """Serves what was added. `status` other than 200 is the answer to everything; `is_slow` answers no download. With a
    `certificate` it speaks TLS.
    """

    def __init__(self, *, asks_for_password: bool = False, certificate: KeyPair | None = None) -> None:
        self.status = 200
        self.is_slow = False
        self.asked: list[str] = []
        self._wheels: dict[str, bytes] = {}
        self._asks_for_password = asks_for_password
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            # The handshake is the connection's own thread's.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.address}/simple"

    def add(self, name: str, version: str, *requires: str) -> None:
        file, data = wheel(name, version, requires)
        self._wheels[file] = data

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _page(self, name: str) -> bytes | None:
        files = [file for file in self._wheels if file.partition("-")[0].replace("_", "-") == name]
        links = (f'<a href="/files/{f}#sha256={hashlib.sha256(self._wheels[f]).hexdigest()}">{f}</a>' for f in files)
        return "".join(links).encode() if files else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                kind, _, name = self.path.strip("/").partition("/")
                if index.status != 200:
                    self._answer(index.status, b"", "text/plain")
                elif index._asks_for_password and self.headers.get("Authorization") != _basic():
                    self._answer(401, b"", "text/plain")
                elif kind == "simple":
                    self._found(index._page(name.rstrip("/")), "text/html")
                else:
                    if index.is_slow:
                        time.sleep(60)
                    self._found(index._wheels.get(name), "application/octet-stream")

            do_HEAD = do_GET

            def do_CONNECT(self) -> None:
                index.asked.append(self.path)
                self._answer(407, b"", "text/plain")

            def _found(self, data: bytes | None, kind: str) -> None:
                self._answer(200 if data is not None else 404, data or b"", kind)

            def _answer(self, status: int, data: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                if status == 401:
                    self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Not into the test's output."""

        return Handler


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def variables(url: str) -> dict[str, str]:
    """An environment in which uv knows this index and no other, whatever this machine is configured with."""
    return {name: "" for name in os.environ if name.startswith("UV_")} | {
        "UV_DEFAULT_INDEX": url,
        "UV_HTTP_TIMEOUT": "5",
    }
