"""A client of HTTP/1.1 that costs little beside the servers that it measures: one request, again and again.

    python bench/load_client.py PORT PATH BODY CLIENTS SECONDS CORE [HEADER:VALUE ...]

As many connections as clients; each sends its next request when it has the answer to the last one. BODY is a file. The
last line is one JSON object: answers in the time, errors, and the latencies' 50th and 99th percentile in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200"
WARM_UP_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """Asks as soon as it has an answer. Answers have a Content-Length, as those of all servers here."""

    def __init__(self, request: bytes, answers: list[tuple[float, float]], errors: list[bytes]) -> None:
        self._request = request
        self._answers = answers
        self._errors = errors
        self._buffer = bytearray()
        self._needed = 0
        self._sent = 0.0
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._needed and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            self._needed = end + 4 + int(length)
        if self._needed and len(self._buffer) >= self._needed:
            now = time.perf_counter()
            if self._buffer.startswith(OK):
                self._answers.append((now, now - self._sent))
            else:
                self._errors.append(bytes(self._buffer[:300]))
            self._buffer.clear()
            self._needed = 0
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)


async def ask(port: int, request: bytes, clients: int, seconds: float) -> dict[str, float]:
    """What came back within `seconds`, after a second that warms up."""
    answers: list[tuple[float, float]] = []
    errors: list[bytes] = []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, answers, errors), HOST, port) for _ in range(clients)
    ]
    begin = time.perf_counter() + WARM_UP_SECONDS
    lost = [connection.lost for _, connection in made]
    await asyncio.wait(lost, timeout=WARM_UP_SECONDS + seconds, return_when=asyncio.FIRST_COMPLETED)
    if any(future.done() for future in lost):
        raise SystemExit(f"the server closed a connection: {errors[:1]}")
    end = begin + seconds
    within = sorted(took for at, took in answers if begin <= at < end)
    if errors or not within:
        raise SystemExit(f"{len(errors)} errors, {len(within)} answers: {errors[:1]}")
    for transport, _ in made:
        transport.abort()
    return {
        "answers": len(within),
        "per_second": len(within) / seconds,
        "p50_ms": 1000 * within[len(within) // 2],
        "p99_ms": 1000 * within[min(len(within) - 1, int(0.99 * len(within)))],
    }


def main(arguments: list[str]) -> None:
    port, path, body, clients, seconds, core, *headers = arguments
    os.sched_setaffinity(0, {int(core)})
    content = Path(body).read_bytes()
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}:{port}", f"Content-Length: {len(content)}", *headers]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + content
    found = uvloop.run(ask(int(port), request, int(clients), float(seconds)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
