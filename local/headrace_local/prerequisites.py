"""What the machine must have before an instance can run, each with what to do about it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_local import paths
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report

_APT_TIMEOUT = 600.0

PACKAGES = {
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
"""Programs, and the Debian packages that bring them."""


@dataclass(frozen=True)
class Missing:
    """Something that is not there."""

    what: str
    remedy: str
    package: str | None = None


def check() -> list[Missing]:
    """Everything that is missing; kernel features are only looked for as root."""
    missing = programs(PACKAGES)
    if sys.platform != "linux":
        return [Missing("Linux", "run it on Linux, or use kind")]
    if os.geteuid() != 0:
        return [Missing("root", "start it with sudo: it makes namespaces, mounts and firewall rules"), *missing]
    return [*missing, *(problem for probe in _PROBES if (problem := probe()) is not None)]


def programs(packages: Mapping[str, str]) -> list[Missing]:
    """Those that are missing, of programs and the Debian packages that bring them."""
    return [
        Missing(f"the program {program}", f"apt-get install {package}", package)
        for program, package in packages.items()
        if _which(program) is None
    ]


def require(*, install: bool, report: Report, look: Callable[[], list[Missing]] = check) -> None:
    """Raise with all that is missing; with `install`, install the packages first."""
    missing = look()
    packages = sorted({problem.package for problem in missing if problem.package is not None})
    if install and packages and os.geteuid() == 0:
        _install(packages, report)
        missing = look()
    if missing:
        lines = [f"  {problem.what}: {problem.remedy}" for problem in missing]
        hint = "\n--install-prerequisites installs the packages (as root)." if packages and not install else ""
        raise LocalClusterError("this machine lacks\n" + "\n".join(lines) + hint)


def _install(packages: list[str], report: Report) -> None:
    if shutil.which("apt-get") is None:
        raise LocalClusterError(f"no apt-get here: install by other means what brings {', '.join(packages)}")
    report(f"installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "--quiet", *command], capture_output=True, text=True, timeout=_APT_TIMEOUT, env=environment
        )
        if done.returncode != 0:
            raise LocalClusterError(f"`apt-get {' '.join(command)}` failed:\n{done.stderr.strip()}")


def has_module(name: str) -> bool:
    """Whether the Python that runs this can import it."""
    importlib.invalidate_caches()
    return importlib.util.find_spec(name) is not None


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _namespaces() -> Missing | None:
    return _try(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "true"],
        "namespaces for mounts, network and processes",
        "in a container, run it privileged",
    )


def _overlay() -> Missing | None:
    paths.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
        for name in ("lower", "upper", "work", "merged"):
            (Path(folder) / name).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        return _try(
            ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/merged"],
            f"overlayfs on {paths.cache()}",
            "set XDG_CACHE_HOME to a folder on ext4 or xfs (modprobe overlay, if the kernel has it as a module)",
        )


def _links() -> Missing | None:
    return _try(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            "ip link add name probe0 type bridge && ip link add name probe1 type veth peer name probe2",
        ],
        "network bridges and veth pairs",
        "modprobe bridge veth",
    )


def _translation() -> Missing | None:
    if _which("iptables") is None:
        return None
    return _try(
        ["unshare", "--net", "sh", "-c", "iptables -t nat -A POSTROUTING -m comment --comment probe -j MASQUERADE"],
        "address translation (netfilter)",
        "modprobe nf_nat iptable_nat xt_comment xt_MASQUERADE",
    )


def _cgroups() -> Missing | None:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        missing = {"cpu", "memory", "pids"} - set((root / "cgroup.controllers").read_text().split())
    else:
        missing = {name for name in ("cpu", "memory", "pids") if not (root / name).is_dir()}
    if not missing:
        return None
    return Missing(f"cgroup controllers {', '.join(sorted(missing))}", "mount them at /sys/fs/cgroup")


_PROBES: tuple[Callable[[], Missing | None], ...] = (_namespaces, _overlay, _links, _translation, _cgroups)


def _try(command: list[str], what: str, remedy: str) -> Missing | None:
    if _which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        return None
    return Missing(what, f"{remedy} ({done.stderr.strip()})")
