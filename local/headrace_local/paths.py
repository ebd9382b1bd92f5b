"""Where things lie: a cache that may be deleted at any time, an instance's state, its sockets.

Sockets have a folder of their own under /run because a Unix socket's path holds at most 107 characters.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headrace_local.errors import LocalClusterError

RUN = Path("/run/headrace")
SOURCES = Path(__file__).resolve().parent.parent
REPOSITORY = SOURCES.parent


def _home(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


def cache() -> Path:
    """What can be made again: binaries, the Go toolchain, base images."""
    return _home("XDG_CACHE_HOME", ".cache") / "headrace"


def state() -> Path:
    """What belongs to the instances of this user."""
    return _home("XDG_STATE_HOME", ".local/state") / "headrace" / "local"


@dataclass(frozen=True)
class InstancePaths:
    """The folders of one instance, derived from its name."""

    name: str

    @property
    def state(self) -> Path:
        """The cluster's own state: gone after `down`."""
        return state() / self.name

    @property
    def images(self) -> Path:
        """The image store and the build cache: kept after `down`, so that the next `up` need not build again."""
        return cache() / "images" / self.name

    @property
    def run(self) -> Path:
        return RUN / self.name

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def buildkit_socket(self) -> Path:
        return self.run / "buildkitd.sock"


def go_sources() -> Path:
    """The Go module that everything is built from; it lies beside this package in a checkout."""
    sources = SOURCES / "go"
    if not (sources / "go.mod").is_file():
        raise LocalClusterError(f"{sources} is missing: `headrace local` runs from a checkout of the repository")
    return sources
