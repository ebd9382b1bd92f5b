"""Answers the operator: POST /trials with what became of all trials, answered with the parameters of the next ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from headrace_common.protocol.fields import NotUnderstood
from headrace_common.protocol.trials import MAX_ASK_BYTES, PATH, Answer, Ask, parse_ask
from headrace_common.serve import Server, addresses

_CLIENT_TIMEOUT = 5.0


class TrialServer:
    """Serves from threads of its own. `answer` is called in them, one after the other. Raises OSError where the port is
    taken.
    """

    def __init__(self, bind: str, port: int, answer: Callable[[Ask], Answer]) -> None:
        self._server = Server(addresses(bind, port), _handler(answer))

    def start(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._server.serve_forever, name="trials", daemon=True).start()


def _handler(answer: Callable[[Ask], Answer]) -> type[BaseHTTPRequestHandler]:
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT

        def do_POST(self) -> None:
            if self.path != PATH:
                self._say(404, {"error": "not found"})
                return
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdigit() or int(length) > MAX_ASK_BYTES:
                self._say(413, {"error": f"Content-Length must be at most {MAX_ASK_BYTES}"})
                return
            try:
                asked = parse_ask(json.loads(self.rfile.read(int(length))))
            except (NotUnderstood, ValueError, RecursionError) as error:
                self._say(400, {"error": str(error)})
                return
            with turn:
                found = answer(asked)
            self._say(200, found.as_json())

        def _say(self, status: int, said: object) -> None:
            body = json.dumps(said, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The pod's log has what was chosen, and not who asked."""

    return Handler
