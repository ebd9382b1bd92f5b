"""HTTP in a pod, by the standard library alone: on all of its addresses, and without DNS."""

from __future__ import annotations

import functools
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

Address = tuple[socket.AddressFamily, tuple[str, int]]

_CLIENT_TIMEOUT = 5.0
_LOOK_FOR_END_SECONDS = 3600.0


class Server(ThreadingHTTPServer):
    """Listens once it is made. Raises OSError where the port is taken."""

    daemon_threads = True

    def __init__(self, address: Address, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = address[0]
        super().__init__(address[1], handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # IPv4 through the same socket
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # not HTTPServer's, which asks DNS for the host's name


def addresses(bind: str, port: int) -> Address:
    """All of the pod's addresses where none is named, whichever family it has."""
    if bind:
        return (socket.AF_INET6 if ":" in bind else socket.AF_INET), (bind, port)
    if socket.has_dualstack_ipv6():
        return socket.AF_INET6, ("::", port)
    return socket.AF_INET, ("0.0.0.0", port)


class ProgressServer:
    """Serves GET /progress and /healthz from threads of its own. `document` is called in them, for each answer. Raises
    OSError where the port is taken.
    """

    def __init__(self, bind: str, port: int, document: Callable[[], Mapping[str, Any]]) -> None:
        def text() -> bytes:
            return json.dumps(document(), separators=(",", ":")).encode()

        self._server = Server(addresses(bind, port), _handler(text))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve until the process ends."""
        # It never is to end, and looks for that seldom.
        serve = functools.partial(self._server.serve_forever, poll_interval=_LOOK_FOR_END_SECONDS)
        threading.Thread(target=serve, name="progress", daemon=True).start()


def _handler(text: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT

        def do_GET(self) -> None:
            if self.path == "/progress":
                self._answer(200, "application/json", text())
            elif self.path == "/healthz":
                self._answer(200, "text/plain", b"ok\n")
            else:
                self._answer(404, "text/plain", b"not found\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The pod's log is for what it is there for."""

    return Handler
