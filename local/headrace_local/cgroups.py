"""The cgroup under which an instance's containers run: one folder in each hierarchy (version 1), or one in all
(version 2).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_local.errors import LocalClusterError

_MOUNT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
_REMOVE_TIMEOUT = 20.0


def name_of(instance: str) -> str:
    return f"headrace-{instance}"


def create(instance: str) -> None:
    for hierarchy in _hierarchies():
        folder = hierarchy / name_of(instance)
        folder.mkdir(exist_ok=True)
        # cpuset's files are empty in a new folder, and nothing may join it before they are filled.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists() and (hierarchy / file).exists() and not (folder / file).read_text().strip():
                (folder / file).write_text((hierarchy / file).read_text())
        if (hierarchy / "cgroup.controllers").exists():
            _delegate(hierarchy)
            _delegate(folder)


def remove(instance: str) -> None:
    """Remove the folders, deepest first; what ended a moment ago may still be leaving them."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT
    roots = [hierarchy / name_of(instance) for hierarchy in _hierarchies()]
    while left := [root for root in roots if root.exists()]:
        busy = [error for root in left for error in _remove_tree(root)]
        if busy and time.monotonic() > deadline:
            raise LocalClusterError(f"cgroups are still in use after {_REMOVE_TIMEOUT:.0f} s: {busy[0]}")
        if busy:
            time.sleep(0.05)


def cpu_seconds(name: str) -> float:
    """CPU time of all that ever ran in the cgroup of this name and below it; 0 when there is none."""
    folder = _accounting() / name
    if (folder / "cpuacct.usage").exists():
        return int((folder / "cpuacct.usage").read_text()) / 1e9
    if (folder / "cpu.stat").exists():
        fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6
    return 0.0


@contextmanager
def accounted(name: str) -> Iterator[Path]:
    """A cgroup that only counts: its file `cgroup.procs`, into which a process writes "0" to be counted with all that
    it starts. What is still in it at the end, and so its count, goes on.
    """
    folder = _accounting() / name
    folder.mkdir(exist_ok=True)
    try:
        yield folder / "cgroup.procs"
    finally:
        if not (folder / "cgroup.procs").read_text().split():
            folder.rmdir()


def _accounting() -> Path:
    return _MOUNT if (_MOUNT / "cgroup.controllers").exists() else _MOUNT / "cpuacct"


def _remove_tree(root: Path) -> list[OSError]:
    errors = []
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        try:
            folder.rmdir()
        except OSError as error:
            errors.append(error)
    try:
        root.rmdir()
    except OSError as error:
        errors.append(error)
    return errors


def _hierarchies() -> list[Path]:
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    return [path for path in _MOUNT.iterdir() if path.is_dir() and not path.is_symlink()]


def _delegate(folder: Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    missing = [name for name in _CONTROLLERS if name in available and name not in enabled]
    if missing:
        try:
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
        except OSError as error:
            raise LocalClusterError(
                f"the cgroup controllers {', '.join(missing)} cannot be passed on in {folder} ({error}): "
                "in a container, give it the host's cgroup namespace"
            ) from error
