"""One reading of the container's counters, and what two of them say under MLflow's names.

A megabyte has 10**6 bytes. What the kernel does not say is left out.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from headrace_common.cgroup import Cgroup, text_of
from headrace_common.cpus import usable_cpus
from headrace_trainer.launcher.settings import Paths

_MEGA = 1e6


@dataclass(frozen=True)
class Disk:
    """Of the file system with the script's working directory, in bytes."""

    used: int
    free: int


@dataclass(frozen=True)
class Network:
    """What the pod has received and sent since its begin, in bytes."""

    received: int
    sent: int


@dataclass(frozen=True)
class Reading:
    """`time` in seconds, `cpu` in seconds of all CPUs together, `cpus` how many may be used, `memory` in bytes."""

    time: float
    cpu: float | None
    cpus: float
    memory: int | None
    memory_limit: int | None
    disk: Disk | None
    network: Network | None


def read(cgroup: Cgroup, paths: Paths) -> Reading:
    """The counters as they are now."""
    limit = cgroup.memory_limit()
    return Reading(
        time=time.monotonic(),
        cpu=cgroup.cpu_seconds(),
        cpus=usable_cpus(cgroup),
        memory=cgroup.memory_working_set(),
        memory_limit=_memory_of_node(paths.proc / "meminfo") if limit is None else limit,
        disk=_disk(paths.work),
        network=_network(paths.proc / "net" / "dev"),
    )


def metrics_between(begin: Reading, before: Reading, now: Reading) -> dict[str, float]:
    """`begin` is the attempt's first reading: from there the network counts. `before` is the last one."""
    metrics: dict[str, float] = {}
    seconds = now.time - before.time
    if now.cpu is not None and before.cpu is not None and seconds > 0:
        metrics["cpu_utilization_percentage"] = 100 * (now.cpu - before.cpu) / (seconds * now.cpus)
    if now.memory is not None:
        metrics["system_memory_usage_megabytes"] = now.memory / _MEGA
    if now.memory is not None and now.memory_limit:
        metrics["system_memory_usage_percentage"] = 100 * now.memory / now.memory_limit
    if now.disk is not None and (size := now.disk.used + now.disk.free) > 0:
        metrics["disk_usage_percentage"] = 100 * now.disk.used / size
        metrics["disk_usage_megabytes"] = now.disk.used / _MEGA
        metrics["disk_available_megabytes"] = now.disk.free / _MEGA
    if now.network is not None and begin.network is not None:
        metrics["network_receive_megabytes"] = (now.network.received - begin.network.received) / _MEGA
        metrics["network_transmit_megabytes"] = (now.network.sent - begin.network.sent) / _MEGA
    return metrics


def _memory_of_node(meminfo: Path) -> int | None:
    """What a container without a limit may use."""
    for line in text_of(meminfo).splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name == "MemTotal" and words and words[0].isdigit():
            return int(words[0]) * 1024
    return None


def _disk(folder: Path) -> Disk | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Disk(usage.used, usage.free)


def _network(dev: Path) -> Network | None:
    """All interfaces but loopback. A line is a name, eight counts of what came in, eight of what went out."""
    found = []
    for line in text_of(dev).splitlines():
        name, colon, counts = line.partition(":")
        words = counts.split()
        if colon and name.strip() != "lo" and len(words) == 16 and words[0].isdigit() and words[8].isdigit():
            found.append((int(words[0]), int(words[8])))
    return Network(sum(received for received, _ in found), sum(sent for _, sent in found)) if found else None
