"""How many CPUs this container may use: its quota, not the node's size (which the engines would take)."""

from __future__ import annotations

import os
from math import ceil

from headrace_common.cgroup import Cgroup, own


def available_cpus(cgroup: Cgroup | None = None) -> int:
    """Whole ones, at least one."""
    return max(1, ceil(usable_cpus(cgroup or own())))


def usable_cpus(cgroup: Cgroup) -> float:
    """The quota, or what the process is allowed to run on where that is less."""
    allowed = allowed_cpus()
    return min(cgroup.cpu_quota() or allowed, allowed)


def allowed_cpus() -> int:
    """How many the process may run on, which is what libraries take for theirs: they know of no quota."""
    return len(os.sched_getaffinity(0))
