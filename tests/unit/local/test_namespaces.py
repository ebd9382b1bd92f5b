"""Which resolvers an instance gets: those of the host that a network namespace of its own can reach."""

from __future__ import annotations

from pathlib import Path

from headrace_local.namespaces import resolver_configuration


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_hosts_file_is_taken_without_servers_on_loopback(tmp_path: Path) -> None:
    file = _file(tmp_path / "a", "nameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch example.com\n")
    assert resolver_configuration([file]) == "nameserver 192.0.2.1\nsearch example.com\n"


def test_a_stub_resolvers_file_gives_way_to_the_one_behind_it(tmp_path: Path) -> None:
    stub = _file(tmp_path / "stub", "nameserver 127.0.0.53\noptions edns0\n")
    real = _file(tmp_path / "real", "nameserver 192.0.2.1\n")
    assert resolver_configuration([stub, real]) == "nameserver 192.0.2.1\n"


def test_without_a_reachable_server_there_is_none(tmp_path: Path) -> None:
    stub = _file(tmp_path / "stub", "nameserver ::1\n")
    assert resolver_configuration([stub, tmp_path / "absent"]) == ""
