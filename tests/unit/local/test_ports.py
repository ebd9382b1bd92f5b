"""Free ports: not in use, and not where the kernel puts outgoing connections."""

from __future__ import annotations

import socket
from pathlib import Path

from headrace_local import ports


def test_ports_differ_and_can_be_listened_on() -> None:
    found = ports.free(5)
    assert len(set(found)) == 5
    for port in found:
        with socket.create_server(("127.0.0.1", port)):
            assert not ports.is_free(port)


def test_no_port_lies_in_the_range_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < lowest for port in ports.free(50))
