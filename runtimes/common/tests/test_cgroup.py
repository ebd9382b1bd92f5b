"""The container's own control groups, as a kernel of either version writes them."""

import pytest

from headrace_common.cgroup import Cgroup

V1 = {
    "membership": "5:cpu,cpuacct:/kubepods/pod1\n4:memory:/kubepods/pod1\n0::/\n",
    "memory/memory.usage_in_bytes": "3000\n",
    "memory/memory.stat": "cache 1500\ninactive_file 7\ntotal_inactive_file 1000\n",
    "memory/memory.limit_in_bytes": "4000\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
}
V2 = {
    "membership": "0::/\n",
    "memory.current": "3000\n",
    "memory.stat": "anon 1500\ninactive_file 1000\n",
    "memory.max": "4000\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    "cpu.max": "150000 100000\n",
}
UNLIMITED_V1 = {
    **V1,
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "cpu/cpu.cfs_quota_us": "-1\n",
}
UNLIMITED_V2 = {**V2, "memory.max": "max\n", "cpu.max": "max 100000\n"}


@pytest.fixture
def cgroup(tmp_path):
    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return Cgroup(tmp_path / "membership", tmp_path)

    return make


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_what_a_container_uses_and_may_use(cgroup, files):
    found = cgroup(files)
    assert (found.memory_working_set(), found.memory_limit()) == (2000, 4000)
    assert (found.cpu_seconds(), found.cpu_quota()) == (2.5, 1.5)


@pytest.mark.parametrize("files", [UNLIMITED_V1, UNLIMITED_V2], ids=["v1", "v2"])
def test_no_limit_is_none(cgroup, files):
    found = cgroup(files)
    assert (found.memory_limit(), found.cpu_quota()) == (None, None)


def test_on_the_host_the_group_is_the_one_that_the_membership_names(cgroup):
    whole_host = {"memory.current": "9000\n", "memory.stat": "inactive_file 0\n"}
    own = {f"slice/pod/{name}": text for name, text in V2.items()}
    assert cgroup({**whole_host, **own, "membership": "0::/slice/pod\n"}).memory_working_set() == 2000


@pytest.mark.parametrize("files", [{}, {"membership": "0::/\n"}], ids=["no cgroups", "no files"])
def test_what_the_kernel_does_not_say_is_none(cgroup, files):
    found = cgroup(files)
    assert (found.memory_working_set(), found.memory_limit(), found.memory_peak()) == (None, None, None)
    assert (found.cpu_seconds(), found.cpu_quota(), found.memory_kills()) == (None, None, 0)
