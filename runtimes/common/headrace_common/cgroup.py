"""What the kernel says of this container: the files of its own control groups, version 1 and 2. Who asks draws the
conclusions.

Each file may be missing (another kernel, a machine without control groups): then the answer is None, and 0 for a count.
The files of the two versions have different names, so both are looked for and one is found.
"""

from __future__ import annotations

from pathlib import Path

MEMBERSHIP, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 writes "no limit" as a number close to 2**63


class Cgroup:
    """The groups of this process. In a container without a cgroup namespace the membership names a path of the host's,
    while what is mounted is the container's own group: then it is the mount itself.
    """

    def __init__(self, membership: Path, root: Path) -> None:
        self._root = root
        self._paths: dict[str, str] = {}
        for line in text_of(membership).splitlines():
            _, controllers, path = line.split(":", 2)
            self._paths |= dict.fromkeys(controllers.split(","), path.lstrip("/"))

    def memory_kills(self) -> int:
        """How many processes the kernel has killed for memory, ever."""
        events = self._read("memory", "memory.oom_control") or self._read("", "memory.events")
        return _value(events, "oom_kill") or 0

    def memory_limit(self) -> int | None:
        """In bytes."""
        return _number(self._read("memory", "memory.limit_in_bytes") or self._read("", "memory.max"))

    def memory_peak(self) -> int | None:
        """In bytes."""
        return _number(self._read("memory", "memory.max_usage_in_bytes") or self._read("", "memory.peak"))

    def memory_working_set(self) -> int | None:
        """In bytes, as Kubernetes counts it: without the files in the page cache that nobody has used for long."""
        version_1 = self._read("memory", "memory.usage_in_bytes")
        usage = _number(version_1 or self._read("", "memory.current"))
        if usage is None:
            return None
        idle = (
            _value(self._read("memory", "memory.stat"), "total_inactive_file")
            if version_1
            else _value(self._read("", "memory.stat"), "inactive_file")
        )
        return max(0, usage - (idle or 0))

    def cpu_seconds(self) -> float | None:
        """The CPU time of all processes, ever."""
        nanoseconds = _number(self._read("cpuacct", "cpuacct.usage"))
        if nanoseconds is not None:
            return nanoseconds / 1e9
        microseconds = _value(self._read("", "cpu.stat"), "usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def cpu_quota(self) -> float | None:
        """How many CPUs they may use; None where there is no limit."""
        version_1 = f"{self._read('cpu', 'cpu.cfs_quota_us')} {self._read('cpu', 'cpu.cfs_period_us')}"
        for text in (version_1, self._read("", "cpu.max")):
            words = text.split()
            if len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words):
                return int(words[0]) / int(words[1])
        return None

    def _read(self, controller: str, name: str) -> str:
        """A file of the group that has this controller ("" is version 2, which has all in one folder)."""
        path = self._paths.get(controller)
        if path is None:
            return ""
        mount = self._root / controller
        return text_of(mount / path / name) or text_of(mount / name)


def own() -> Cgroup:
    """This container's."""
    return Cgroup(MEMBERSHIP, ROOT)


def text_of(path: Path) -> str:
    """A file of the kernel's, "" where it is missing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _value(text: str, name: str) -> int | None:
    """The value of a line `name value`."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value)
    return None
