"""What instances change on the host itself: kernel settings and empty folders. Remembered when the first instance
comes, put back when the last one goes; beside that each instance has one veth pair and its firewall rules
(`network`).

The record lies under /run: after a reboot the changes are gone, and so is it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headrace_local import locks, paths
from headrace_local.errors import LocalClusterError

_SYSCTLS = (
    "net/ipv4/ip_forward",
    # The kubelet sets these at its start, for the whole machine.
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
_LOCK_TIMEOUT = 120.0
_MAX_INSTANCES = 200


@dataclass
class _Record:
    instances: dict[str, int] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)


def join(instance: str) -> int:
    """Note that the instance uses the host; returns its index, which no other one has."""
    with _record() as record:
        if not record.sysctls:
            record.sysctls = {name: _sysctl(name).read_text().strip() for name in _SYSCTLS if _sysctl(name).exists()}
        if instance not in record.instances:
            free = set(range(_MAX_INSTANCES)) - set(record.instances.values())
            if not free:
                raise LocalClusterError(
                    f"{_MAX_INSTANCES} instances are there: take one away with `headrace local down`"
                )
            record.instances[instance] = min(free)
        return record.instances[instance]


def index_of(instance: str) -> int | None:
    with _record() as record:
        return record.instances.get(instance)


def instances() -> list[str]:
    """The names of all instances on this machine."""
    with _record() as record:
        return sorted(record.instances)


def make_directory(path: Path) -> None:
    """Make a folder that others mount on; it is removed with the last instance if it is still empty then."""
    with _record() as record:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        record.directories += [str(folder) for folder in missing]
        path.mkdir(parents=True, exist_ok=True)


def set_sysctl(name: str, value: str) -> None:
    """Change a setting that `join` has remembered."""
    assert name in _SYSCTLS
    if _sysctl(name).read_text().strip() != value:
        _sysctl(name).write_text(value)


def leave(instance: str) -> None:
    """Note that the instance is gone; the last one puts the host back as it was."""
    with _record() as record:
        record.instances.pop(instance, None)
        if record.instances:
            return
        for name, value in record.sysctls.items():
            if _sysctl(name).read_text().strip() != value:
                _sysctl(name).write_text(value)
        record.sysctls = {}
        for folder in sorted((Path(name) for name in record.directories), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        record.directories = []


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


@contextmanager
def _record() -> Iterator[_Record]:
    file = paths.RUN / "host.json"
    with locks.exclusive(paths.RUN / "host.lock", what="changing the host's settings", timeout=_LOCK_TIMEOUT):
        record = _Record(**json.loads(file.read_text())) if file.exists() else _Record()
        before = json.dumps(record.__dict__)
        try:
            yield record
        finally:
            if json.dumps(record.__dict__) != before:
                unfinished = file.with_suffix(".unfinished")
                unfinished.write_text(json.dumps(record.__dict__, indent=2))
                unfinished.rename(file)
