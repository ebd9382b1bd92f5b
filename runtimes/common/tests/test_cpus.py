"""How many CPUs a container counts."""

from __future__ import annotations

import os

import pytest

from headrace_common.cgroup import Cgroup
from headrace_common.cpus import allowed_cpus, available_cpus, usable_cpus

V1 = {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("membership", "files"), [("0::/", {"cpu.max": "50000 100000"}), ("4:cpu,cpuacct:/", V1)], ids=["v2", "v1"]
)
def test_threads_follow_the_containers_quota(tmp_path, membership, files):
    for name, text in {"membership": membership, **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert available_cpus(Cgroup(tmp_path / "membership", tmp_path)) == 1


def test_without_a_quota_they_are_those_that_the_process_may_use(tmp_path):
    assert available_cpus(Cgroup(tmp_path / "membership", tmp_path)) == len(os.sched_getaffinity(0))
    assert available_cpus() >= 1


@pytest.mark.parametrize(
    "quota", ["max 100000", f"{2 * len(os.sched_getaffinity(0))}00000 100000"], ids=["none", "more"]
)
def test_a_quota_of_more_than_the_process_may_run_on_is_none(tmp_path, quota):
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cpus(Cgroup(tmp_path / "membership", tmp_path)) == allowed_cpus()


def test_half_a_cpu_is_half_a_cpu(tmp_path):
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cpus(Cgroup(tmp_path / "membership", tmp_path)) == 0.5
