"""Loopback ports of the host that lead into an instance: one small process each, which ends with the instance."""

from __future__ import annotations

import socket

from headrace_local import members, ports
from headrace_local.binaries import Binaries
from headrace_local.components import FORWARDER
from headrace_local.namespaces import Namespaces

_BACKLOG = 1024


def ensure(
    instance: str, namespaces: Namespaces, binaries: Binaries, address: str, port: int, *, wanted: int | None = None
) -> int:
    """The loopback port that leads to this address and port: the one there is, else `wanted` if free, else any."""
    prefix = f"{FORWARDER}:{address}:{port}@"
    for member in members.of(instance):
        if member.component.startswith(prefix):
            return int(member.component.removeprefix(prefix))
    if wanted is None or not ports.is_free(wanted):
        (wanted,) = ports.free(1)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", wanted))
        listener.listen(_BACKLOG)
        namespaces.start(
            f"{prefix}{wanted}",
            [binaries.path("forward"), str(listener.fileno()), f"{address}:{port}"],
            log_name=FORWARDER,
            pass_descriptors=[listener.fileno()],
        )
    return wanted
