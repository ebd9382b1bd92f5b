"""The instance's folder in each cgroup hierarchy, made before anything can join it and removed when all have left."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_local import cgroups
from headrace_local.errors import LocalClusterError


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroups, "_MOUNT", tmp_path)
    monkeypatch.setattr(cgroups, "_REMOVE_TIMEOUT", 0.2)
    return tmp_path


def test_version_1_has_a_folder_in_every_hierarchy(mount: Path) -> None:
    for name in ("cpu,cpuacct", "memory"):
        (mount / name).mkdir()
    (mount / "cpu").symlink_to("cpu,cpuacct")

    cgroups.create("one")

    assert {path.parent.name for path in mount.glob("*/headrace-one") if not path.parent.is_symlink()} == {
        "cpu,cpuacct",
        "memory",
    }


def test_version_2_passes_the_controllers_on_that_there_are(mount: Path) -> None:
    (mount / "cgroup.controllers").write_text("cpu memory pids misc\n")
    (mount / "cgroup.subtree_control").write_text("cpu\n")
    (mount / "headrace-one").mkdir()
    (mount / "headrace-one" / "cgroup.controllers").write_text("cpu memory pids\n")
    (mount / "headrace-one" / "cgroup.subtree_control").write_text("")

    cgroups.create("one")

    assert (mount / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (mount / "headrace-one" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_only_the_instances_own_folders_are_removed_with_all_below(mount: Path) -> None:
    (mount / "memory" / "headrace-one" / "kubepods" / "pod").mkdir(parents=True)
    (mount / "memory" / "headrace-one-more").mkdir()

    cgroups.remove("one")

    assert [path.name for path in (mount / "memory").iterdir()] == ["headrace-one-more"]


def test_a_folder_that_stays_in_use_is_named(mount: Path) -> None:
    (mount / "memory" / "headrace-one" / "kubepods").mkdir(parents=True)
    (mount / "memory" / "headrace-one" / "kubepods" / "held").touch()
    with pytest.raises(LocalClusterError, match="headrace-one/kubepods"):
        cgroups.remove("one")


def test_cpu_time_is_read_from_either_version(mount: Path) -> None:
    folder = mount / "cpuacct" / "counted"
    folder.mkdir(parents=True)
    (folder / "cpuacct.usage").write_text("2500000000\n")
    assert cgroups.cpu_seconds("counted") == 2.5

    (mount / "cgroup.controllers").write_text("cpu memory\n")
    (mount / "counted").mkdir()
    (mount / "counted" / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\n")
    assert cgroups.cpu_seconds("counted") == 1.5


def test_no_cgroup_has_used_no_cpu_time(mount: Path) -> None:
    (mount / "cpuacct").mkdir()
    assert cgroups.cpu_seconds("absent") == 0.0
