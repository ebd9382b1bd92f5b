"""Another address of a server on loopback, which can be taken away as if the server were: connections break, and new
ones are refused. It is there again at once, where a server takes seconds of computing to start.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_BYTES = 1 << 16


class Gate:
    def __init__(self, target: int) -> None:
        """`target` is the server's port."""
        self._target = target
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen(0)
        self.port = int(self._listener.getsockname()[1])

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """The server is away meanwhile."""
        self.close()
        try:
            yield
        finally:
            self._listen(self.port)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # who waits for a connection is told
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                self._connections |= {connection, server}
            back = threading.Thread(target=_pass_on, args=(server, connection), daemon=True)
            back.start()
            _pass_on(connection, server)
            back.join()
            with self._lock:
                self._connections -= {connection, server}


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    """Until either end is closed; then the other one is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(_BYTES):
            to.sendall(data)
    for end in (source, to):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
