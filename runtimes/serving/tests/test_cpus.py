"""How many CPUs a container counts."""

from __future__ import annotations

from headrace_serving.cpus import available_cpus


def test_threads_follow_the_containers_quota(tmp_path):
    assert available_cpus(tmp_path) >= 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cpus(tmp_path) == 1
