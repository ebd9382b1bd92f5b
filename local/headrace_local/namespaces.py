"""The namespaces of an instance: processes, mounts, network; held open by one small process, `pause`, that is their
first.

Killing that one ends everything inside, containers included, and the kernel takes the mounts and interfaces away:
there is no order to keep and nothing to forget. Folders that upstream programs hard-code are covered with the
instance's own, so that two instances, and a containerd of the host, never meet in them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from headrace_local import host, members
from headrace_local.binaries import Binaries
from headrace_local.errors import LocalClusterError
from headrace_local.paths import InstancePaths

HOST_PATH_VOLUMES = "/tmp/hostpath_pv"
"""Where the controller manager's provisioner puts volumes; no flag changes it."""

_PRIVATE = (
    "/run/mount",
    "/run/containerd",
    "/run/buildkit",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    HOST_PATH_VOLUMES,
)
# Covered where it is there: else the kubelet asks the host's systemd to mount for it, with process ids that mean others
# outside.
_SYSTEMD = "/run/systemd"
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_HOLD_TIMEOUT = 15.0


class Namespaces:
    """The namespaces of the instance called `name`."""

    def __init__(self, paths: InstancePaths, binaries: Binaries) -> None:
        self._paths = paths
        self._binaries = binaries

    def holder(self) -> int | None:
        """The id, in the host's terms, of the process that holds the namespaces open."""
        for member in members.of(self._paths.name):
            if member.component == members.HOLDER and member.is_init and member.program == "pause":
                return member.pid
        return None

    def hold(self) -> int:
        """Make the namespaces unless they are there; returns the holder's id."""
        if (holder := self.holder()) is not None:
            return holder
        script = "\n".join(["set -e", "mount --no-mtab --make-rshared /", *self._mounts(), self._exec_pause()])
        with (self._paths.logs / "holder.log").open("ab") as log:
            process = subprocess.Popen(
                # --mount-proc makes mounts private first: nothing that is mounted inside is seen outside.
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **members.environment(self._paths.name, members.HOLDER)},
                start_new_session=True,
            )
        deadline = time.monotonic() + _HOLD_TIMEOUT
        while time.monotonic() < deadline:
            if (holder := self.holder()) is not None:
                return holder
            if process.poll() is not None:
                break
            time.sleep(0.02)
        said = (self._paths.logs / "holder.log").read_text().strip()
        raise LocalClusterError(f"namespaces for {self._paths.name} could not be made (root is needed): {said}")

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs a command inside."""
        holder = self.holder()
        if holder is None:
            raise LocalClusterError(f"{self._paths.name} does not run: `headrace local up --name {self._paths.name}`")
        return ["nsenter", f"--target={holder}", "--mount", "--net", "--pid", "--", *map(str, command)]

    def start(
        self, component: str, command: Sequence[str | Path], *, log_name: str, pass_descriptors: Sequence[int] = ()
    ) -> None:
        """Start a component inside that outlives this process."""
        environment = {
            **os.environ,
            **members.environment(self._paths.name, component),
            "PATH": f"{self._binaries.directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        with (self._paths.logs / f"{log_name}.log").open("ab") as log:
            subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
                pass_fds=pass_descriptors,
            )

    def _exec_pause(self) -> str:
        return f"exec {shlex.quote(str(self._binaries.path('pause')))}"

    def _mounts(self) -> list[str]:
        covers: dict[Path, Path] = {}
        for name in (*_PRIVATE, *([_SYSTEMD] if Path(_SYSTEMD).is_dir() else [])):
            target = Path(name).resolve()
            cover = self._paths.state / "private" / name.strip("/").replace("/", "-")
            cover.mkdir(parents=True, exist_ok=True)
            host.make_directory(target)
            covers[target] = cover
        lines = []
        resolver = Path("/etc/resolv.conf").resolve()
        own = self._paths.state / "resolv.conf"
        own.write_text(resolver_configuration())
        covering = next((target for target in covers if resolver.is_relative_to(target)), None)
        if covering is not None:
            covered = covers[covering] / resolver.relative_to(covering)
            covered.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own, covered)
        elif resolver.exists():
            lines.append(_bind(own, resolver))
        return [*lines, *(_bind(cover, target) for target, cover in covers.items())]


def _bind(source: Path, target: Path) -> str:
    return f"mount --no-mtab --bind {shlex.quote(str(source))} {shlex.quote(str(target))}"


def resolver_configuration(candidates: Sequence[Path] = _RESOLVERS) -> str:
    """The host's resolvers as far as a network namespace of its own can reach them: none on a loopback address.

    Of two files, one with such servers only (a stub resolver's) gives way to the next.
    """
    for candidate in candidates:
        if not candidate.exists():
            continue
        lines = [line for line in candidate.read_text().splitlines() if not _is_loopback_server(line)]
        if any(line.split()[:1] == ["nameserver"] for line in lines):
            return "\n".join(lines) + "\n"
    return ""


def _is_loopback_server(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and (words[1].startswith("127.") or words[1] == "::1")
