"""HTTP connections to one server, one a thread, which is used again within a second: each new one costs both sides as
much as a small request does, and with TLS several times that.

A server closes an idle connection when it likes, after two seconds and more (uvicorn after five, gunicorn after two). A
request that it closes upon is not sent again, since it may have been carried out: so none is sent on a connection that
has been idle for longer than a second, or on which there is something to read, which is its end.
"""

from __future__ import annotations

import http.client
import select
import threading
import time
from collections.abc import Mapping

# A server that is away is told from one that computes: a pod that is gone may leave its address without any answer.
_CONNECT_SECONDS, _ANSWER_SECONDS = 3.0, 10.0
_IDLE_SECONDS = 1.0


class Connections:
    """Of one server."""

    def __init__(self, is_https: bool, address: str) -> None:
        self._make = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
        self._address = address
        self._of_thread = _OfThread()

    def call(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """The status and the text of the answer. Raises OSError and HTTPException."""
        mine = self._of_thread
        connection, mine.connection = mine.connection, None
        if connection is not None and not _is_fresh(connection, mine.used):
            connection.close()
            connection = None
        connection = connection or self._connected()
        try:
            connection.request(method, url, body, dict(headers))
            response = connection.getresponse()
            status, text = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        mine.connection, mine.used = connection, time.monotonic()
        return status, text

    def _connected(self) -> http.client.HTTPConnection:
        connection = self._make(self._address, timeout=_CONNECT_SECONDS)
        connection.connect()
        connection.sock.settimeout(_ANSWER_SECONDS)
        return connection


class _OfThread(threading.local):
    """`used` is when its last answer came."""

    connection: http.client.HTTPConnection | None = None
    used = 0.0


def _is_fresh(connection: http.client.HTTPConnection, used: float) -> bool:
    if connection.sock is None or time.monotonic() - used > _IDLE_SECONDS:
        return False
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return not waiting.poll(0)
