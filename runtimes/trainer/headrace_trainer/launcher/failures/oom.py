"""Whether the kernel killed something in this container for memory, from its counts before and after the script.

The exit code does not tell: a script that outlives the OOM kill of one of its own children ends with 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace_common.cgroup import Cgroup


@dataclass(frozen=True)
class MemoryKill:
    """Bytes; None where the kernel does not say."""

    limit: int | None
    peak: int | None

    def __str__(self) -> str:
        limit = "no limit of its own" if self.limit is None else f"limit {_readable(self.limit)}"
        return limit if self.peak is None else f"{limit}, peak {_readable(self.peak)}"


class MemoryWatch:
    """Counts OOM kills in this process's own cgroup, from its making on."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._before = cgroup.memory_kills()

    def kill(self) -> MemoryKill | None:
        """What was killed for memory since the watch was made; None where nothing was."""
        if self._cgroup.memory_kills() <= self._before:
            return None
        return MemoryKill(self._cgroup.memory_limit(), self._cgroup.memory_peak())


def _readable(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
