"""The other workers: their names before the script starts, and which of them is gone after it broke off.

A cluster's DNS may remember for 30 s that a name was not there: names are asked for fully qualified (a dot at the
end, so that no search list multiplies the questions), and asked for again until a deadline. TensorFlow itself would
hang for minutes in silence.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import Failed, Failure

_PAUSE = 0.5
_PROBE_TIMEOUT = 2.0


def wait_for_names(addresses: Sequence[str], deadline_seconds: float) -> None:
    """Return when every name resolves. Raises Failed (PeerNotFound) that names those that never did."""
    deadline = time.monotonic() + deadline_seconds
    missing = list(addresses)
    while missing := [address for address in missing if not _resolves(address)]:
        if time.monotonic() >= deadline:
            raise Failed(
                Failure(
                    Reason.PEER_NOT_FOUND,
                    f"{', '.join(missing)} did not resolve within {deadline_seconds:.0f} s",
                    "The worker's pod was not created, or the cluster's DNS does not answer: look at both.",
                )
            )
        time.sleep(_PAUSE)


def find_silent(addresses: Sequence[str], own: int, port: int) -> int | None:
    """The lowest worker whose launcher does not answer /healthz; None where all do."""
    others = [index for index in range(len(addresses)) if index != own]
    if not others:
        return None
    with ThreadPoolExecutor(len(others)) as pool:
        answers = list(pool.map(lambda index: _is_healthy(addresses[index], port), others))
    return next((index for index, healthy in zip(others, answers, strict=True) if not healthy), None)


def _resolves(address: str) -> bool:
    try:
        socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return True


def _is_healthy(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
