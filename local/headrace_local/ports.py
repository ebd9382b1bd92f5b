"""Free loopback ports that stay free: outside the range from which the kernel takes ports for outgoing connections.

A server that is stopped and started again on its port would else now and then find a client's socket there.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from headrace_local.errors import LocalClusterError

_LOWEST = 20000
_ATTEMPTS = 200


def free(count: int) -> list[int]:
    """`count` different ports on 127.0.0.1 on which nothing listens."""
    candidates = random.sample(range(_LOWEST, _ephemeral_start()), _ATTEMPTS)
    found = [port for port in candidates if is_free(port)][:count]
    if len(found) < count:
        raise LocalClusterError(f"no {count} free ports on 127.0.0.1 from {_LOWEST} on: what is listening there?")
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ephemeral_start() -> int:
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        lowest = 32768
    return lowest if lowest > _LOWEST + _ATTEMPTS else 32768
