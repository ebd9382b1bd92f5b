"""How many CPUs a container counts."""

from __future__ import annotations

import os

import pytest

from headrace_common.cgroup import Cgroup
from headrace_common.cpus import available_cpus

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
