"""What instances change on the host is remembered by the first and put back by the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_local import host, paths


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /proc/sys, with forwarding off."""
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(host, "_sysctl", lambda name: tmp_path / "sys" / name.replace("/", "."))
    (tmp_path / "sys").mkdir()
    for name in ("net.ipv4.ip_forward", "kernel.panic"):
        (tmp_path / "sys" / name).write_text("0\n")
    return tmp_path / "sys"


def test_each_instance_gets_an_index_of_its_own_and_keeps_it(kernel: Path) -> None:
    assert [host.join("a"), host.join("b"), host.join("a")] == [0, 1, 0]
    host.leave("a")
    assert host.join("c") == 0
    assert host.instances() == ["b", "c"]


def test_settings_stay_changed_until_the_last_instance_leaves(kernel: Path) -> None:
    host.join("a")
    host.join("b")
    host.set_sysctl("net/ipv4/ip_forward", "1")
    (kernel / "kernel.panic").write_text("10\n")  # as the kubelet does, unasked

    host.leave("a")
    assert (kernel / "net.ipv4.ip_forward").read_text() == "1"

    host.leave("b")
    assert (kernel / "net.ipv4.ip_forward").read_text().strip() == "0"
    assert (kernel / "kernel.panic").read_text().strip() == "0"


def test_a_second_instance_does_not_take_the_first_ones_changes_for_the_hosts_own(kernel: Path) -> None:
    host.join("a")
    host.set_sysctl("net/ipv4/ip_forward", "1")
    host.join("b")
    host.leave("a")
    host.leave("b")
    assert (kernel / "net.ipv4.ip_forward").read_text().strip() == "0"


def test_only_folders_that_were_made_and_are_empty_are_removed(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    host.join("a")
    for folder in ("there", "made/deep", "used"):
        host.make_directory(tmp_path / folder)
    (tmp_path / "used" / "file").touch()

    host.leave("a")

    assert (tmp_path / "there").exists()
    assert not (tmp_path / "made").exists()
    assert (tmp_path / "used" / "file").exists()


def test_leaving_twice_or_without_having_joined_is_nothing(kernel: Path) -> None:
    host.leave("never")
    host.join("a")
    host.leave("a")
    (kernel / "net.ipv4.ip_forward").write_text("1\n")  # by somebody else, later
    host.leave("a")
    assert (kernel / "net.ipv4.ip_forward").read_text().strip() == "1"
