"""A connection is used again where that is safe, and no request is sent twice."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from headrace_trainer.launcher.tracking import connections as bounds
from headrace_trainer.launcher.tracking.connections import Connections

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Server:
    """Answers each request with the next of `script`, and closes the connection where that is None, or `then_close`.
    `asked` has the number of the connection of each request.
    """

    def __init__(self) -> None:
        self.script: list[bytes | None] = []
        self.then_close = False
        self.asked: list[int] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection, number), daemon=True).start()
            number += 1

    def _answer(self, connection: socket.socket, number: int) -> None:
        with connection:
            while data := connection.recv(65536):
                if not data.endswith(b"{}"):  # the body is still to come
                    continue
                self.asked.append(number)
                answer = self.script.pop(0)
                if answer is None:
                    return
                connection.sendall(answer)
                if self.then_close:
                    return

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def call(connections: Connections) -> bytes:
    return connections.call("POST", "/a", b"{}", {})[1]


def test_calls_that_come_close_together_have_one_connection_a_thread(server: Server) -> None:
    server.script = [ANSWER] * 3
    connections = Connections(False, server.address)
    call(connections)
    call(connections)
    other = threading.Thread(target=call, args=[connections])
    other.start()
    other.join()
    assert server.asked == [0, 0, 1]


@pytest.mark.parametrize("answer", [ANSWER, LAST])
def test_a_connection_that_the_server_has_closed_is_not_tried(server: Server, answer: bytes) -> None:
    server.script, server.then_close = [answer] * 2, True
    connections = Connections(False, server.address)
    call(connections)
    time.sleep(0.2)  # its end arrives
    assert call(connections) == b"{}"
    assert server.asked == [0, 1]


def test_a_connection_that_was_idle_for_long_is_not_tried(server: Server) -> None:
    server.script = [ANSWER] * 2
    connections = Connections(False, server.address)
    call(connections)
    time.sleep(1.2)
    call(connections)
    assert server.asked == [0, 1]


def test_a_request_that_the_server_closes_upon_is_not_sent_again(server: Server) -> None:
    server.script = [ANSWER, None, ANSWER]
    connections = Connections(False, server.address)
    call(connections)
    with pytest.raises((OSError, http.client.HTTPException)):
        call(connections)
    assert server.asked == [0, 0]
    call(connections)
    assert server.asked == [0, 0, 1]


def test_a_server_that_takes_no_connection_is_given_up_before_one_that_is_slow_to_answer() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        address = listening.getsockname()
        with socket.create_connection(address):  # and with it all places are taken
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                call(Connections(False, f"{address[0]}:{address[1]}"))
            assert time.monotonic() - began < bounds._ANSWER_SECONDS
