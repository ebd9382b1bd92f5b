"""How far the training is, and the HTTP endpoint that says so. What it says is made when somebody asks: a training says
how far it is more often than anybody asks for that.
"""

from __future__ import annotations

import functools
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from headrace_common.protocol import parts
from headrace_trainer.launcher.failures.judge import Failed, bad_config
from headrace_trainer.launcher.messages import Epoch, Fit, Replay, Step

_WINDOW_MS = 10 * 60 * 1000
_CLIENT_TIMEOUT = 5.0
_LOOK_FOR_END_SECONDS = 3600.0


class StepRate:
    """Steps a second as measured over the last ten minutes, from the first step's end on: building the model is in
    the first.

    Validation and checkpoints between steps count, as they do for the time that is left.

    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def add(self, step: int, time: int) -> None:
        """A step ended at `time`, in milliseconds."""
        if self._seen and (step <= self._seen[-1][0] or time < self._seen[-1][1]):
            return
        self._seen.append((step, time))
        while len(self._seen) > 2 and time - self._seen[0][1] > _WINDOW_MS:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None until two steps were seen."""
        if len(self._seen) < 2:
            return None
        (first_step, first_time), (last_step, last_time) = self._seen[0], self._seen[-1]
        return 1000.0 * (last_step - first_step) / max(last_time - first_time, 1)


@dataclass
class Progress:
    """Where the fit under way is. Epochs count from 1 here, as people do."""

    fit: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    first_epoch: int = 0
    step: int | None = None
    steps_per_epoch: int | None = None
    all_steps: int | None = None
    told_steps: int | None = None  # by a followed script itself
    rate: StepRate = field(default_factory=StepRate)

    def begin(self, message: Fit) -> None:
        """A fit begins."""
        self.fit, self.epochs, self.steps_per_epoch = message.fit, message.epochs, message.steps_per_epoch
        self.all_steps, self.first_epoch = message.steps, message.first_epoch
        self.epoch, self.step, self.rate = message.first_epoch + 1, 0, StepRate()

    def advance(self, message: Step | Epoch) -> None:
        """A step or an epoch ended."""
        if message.fit != self.fit:  # a loop of the user's own
            self.fit, self.epochs, self.steps_per_epoch, self.rate = message.fit, None, None, StepRate()
            self.all_steps, self.first_epoch = None, 0
        self.epoch, self.step = message.epoch + 1, message.step
        self.rate.add(message.step, message.time)
        if isinstance(message, Epoch) and self.steps_per_epoch is None and self.epochs is not None:
            self.steps_per_epoch = message.step // max(1, self.epoch - self.first_epoch)

    def pass_over(self, message: Replay) -> None:
        """Data is gone through again: that says nothing about the speed of the training."""
        self.epoch, self.step = message.epoch + 1, message.step

    @property
    def steps(self) -> int | None:
        """The fit's total, where it is known."""
        if self.all_steps is not None:
            return self.all_steps
        if self.epochs is None or not self.steps_per_epoch:
            return self.told_steps
        return (self.epochs - self.first_epoch) * self.steps_per_epoch

    def now(self) -> parts.Progress:
        """What is known."""
        if self.fit is None or self.step is None:
            return parts.Progress()
        rate, steps = self.rate.per_second, self.steps
        left = None if steps is None else max(0, steps - self.step)
        return parts.Progress(
            percent=None if not steps else round(min(100.0, 100.0 * self.step / steps), 1),
            eta_seconds=None if left is None or not rate else round(left / rate),
            epoch=self.epoch,
            epochs=self.epochs,
            step=self.step,
            steps=steps,
            fit=self.fit,
            steps_per_second=None if rate is None else round(rate, 3),
        )


class ProgressServer:
    """Serves GET /progress and /healthz from threads of its own. `document` is called in them, for each answer."""

    def __init__(self, bind: str, port: int, document: Callable[[], Mapping[str, Any]]) -> None:
        def text() -> bytes:
            return json.dumps(document(), separators=(",", ":")).encode()

        try:
            self._server = _Server(_addresses(bind, port), _handler(text))
        except OSError as error:
            raise Failed(bad_config(f"progressPort {port} cannot be served: {error}")) from error

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve until the process ends."""
        # It never is to end, and looks for that seldom.
        serve = functools.partial(self._server.serve_forever, poll_interval=_LOOK_FOR_END_SECONDS)
        threading.Thread(target=serve, name="progress", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[socket.AddressFamily, tuple[str, int]], handler: type[BaseHTTPRequestHandler]
    ) -> None:
        self.address_family = address[0]
        super().__init__(address[1], handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # IPv4 through the same socket
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # not HTTPServer's, which asks DNS for the host's name


def _addresses(bind: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """All of the pod's addresses where none is named, whichever family it has."""
    if bind:
        return (socket.AF_INET6 if ":" in bind else socket.AF_INET), (bind, port)
    if socket.has_dualstack_ipv6():
        return socket.AF_INET6, ("::", port)
    return socket.AF_INET, ("0.0.0.0", port)


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
            """The pod's log is the script's."""

    return Handler
