"""A client of gRPC that sends all of its messages but the last byte: no library of HTTP/2 is for that."""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
from pathlib import Path
from typing import Any

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW_SIZE = 4
_FRAME_BYTES = 16 * 1024


def peak_bytes(server: Any) -> int:
    """The most memory that the server's process ever held."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return 1024 * int(found[1])


def send_half(port: int, method: str, *, streams: int, size: int, seconds: float = 60) -> int:
    """Sends `streams` messages of `size` bytes without their last byte, as fast as the server lets it, until each call
    has been ended. The bytes that were sent.
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return _Client(connection, method, streams, size).run(time.monotonic() + seconds)


class _Client:
    """RFC 9113: each stream, and the connection (0), has a window of bytes that may be sent."""

    def __init__(self, connection: socket.socket, method: str, streams: int, size: int) -> None:
        self._connection = connection
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._received = b""
        self._sent = 0
        self._initial = 65535
        ids = [1 + 2 * index for index in range(streams)]
        self._window = dict.fromkeys([0, *ids], self._initial)
        self._prefix = b"\0" + struct.pack(">I", size)
        self._left = dict.fromkeys(ids, len(self._prefix) + size - 1)
        self._size = self._left[1]
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0))
        for stream in ids:
            connection.sendall(_frame(_HEADERS, _END_HEADERS, stream, _headers(method)))

    def run(self, deadline: float) -> int:
        while self._left:
            assert time.monotonic() < deadline, f"{len(self._left)} calls have not been ended"
            has_sent = self._send_one()
            if self._selector.select(0 if has_sent else 1):
                self._receive()
        return self._sent

    def _send_one(self) -> bool:
        for stream, left in self._left.items():
            size = min(_FRAME_BYTES, left, self._window[stream], self._window[0])
            if size > 0:
                begin = self._prefix[self._size - left :][:size]
                self._connection.sendall(_frame(_DATA, 0, stream, begin + bytes(size - len(begin))))
                self._left[stream] -= size
                self._window[stream] -= size
                self._window[0] -= size
                self._sent += size
                return True
        return False

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        assert data, "the server closed the connection"
        self._received += data
        while len(self._received) >= 9:
            end = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < end:
                return
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            self._take(kind, flags, stream, self._received[9:end])
            self._received = self._received[end:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW and stream in self._window:
            self._window[stream] += int.from_bytes(payload, "big")
        elif kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW_SIZE:
                    for other in self._left:
                        self._window[other] += value - self._initial
                    self._initial = value
            self._connection.sendall(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            self._left.pop(stream, None)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _headers(method: str) -> bytes:
    """HPACK (RFC 7541) without its tables: each field is literal and new."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(value: str) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()
