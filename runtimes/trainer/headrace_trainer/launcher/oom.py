"""Whether the kernel killed something in this container for memory: cgroup v1 and v2, read before and after the script.

The exit code does not tell: a script that outlives the OOM kill of one of its own children ends with 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number close to 2**63


@dataclass(frozen=True)
class MemoryKill:
    """Bytes; None where the kernel does not say."""

    limit: int | None
    peak: int | None

    def __str__(self) -> str:
        limit = "no limit of its own" if self.limit is None else f"limit {_readable(self.limit)}"
        return limit if self.peak is None else f"{limit}, peak {_readable(self.peak)}"


@dataclass(frozen=True)
class _Hierarchy:
    """The files of one cgroup version. `events` has a line `oom_kill N`."""

    events: str
    limit: str
    peak: str


_V1 = _Hierarchy("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")
_V2 = _Hierarchy("memory.events", "memory.max", "memory.peak")


class MemoryWatch:
    """Counts OOM kills in this process's own cgroup, from its making on."""

    def __init__(self, membership: Path, root: Path) -> None:
        self._folder, self._files = _find(membership, root)
        self._before = self._kills()

    def kill(self) -> MemoryKill | None:
        """What was killed for memory since the watch was made; None where nothing was."""
        if self._folder is None or self._kills() <= self._before:
            return None
        return MemoryKill(_number(self._folder / self._files.limit), _number(self._folder / self._files.peak))

    def _kills(self) -> int:
        if self._folder is None:
            return 0
        for line in (self._folder / self._files.events).read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0


def _find(membership: Path, root: Path) -> tuple[Path | None, _Hierarchy]:
    """The memory cgroup's folder. In a container without a cgroup namespace the membership names a path of the host's,
    while what is mounted is the container's own cgroup: then it is the mount itself."""
    if not membership.exists():
        return None, _V2
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mount, files = root / "memory", _V1
        elif not controllers:
            mount, files = root, _V2
        else:
            continue
        for folder in (mount / path.lstrip("/"), mount):
            if (folder / files.events).exists():
                return folder, files
    return None, _V2


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _readable(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
