"""A cluster made by kind: where Docker answers and kind is there it needs neither root nor this project's compiling.

It has a kubeconfig of its own, so the user's is not touched; images are built by Docker and loaded into the node.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from headrace_local import images, paths
from headrace_local.binaries import GATEWAY_API
from headrace_local.errors import LocalClusterError
from headrace_local.images import Secrets
from headrace_local.quickstart.arguments import is_kind_available
from headrace_local.quickstart.names import down_command, kind_cluster_name
from headrace_local.quickstart.report import Report
from headrace_local.quickstart.targets import ContextTarget
from headrace_local.shell import run, run_long

OLDEST_MINOR = 33
GATEWAY_API_MANIFESTS = (
    "https://github.com/kubernetes-sigs/gateway-api/releases/download/"
    f"{GATEWAY_API.partition('@')[2]}/standard-install.yaml"
)
_CREATE_SECONDS = 600.0
_BUILD_SECONDS = 1800.0
_LOAD_SECONDS = 600.0


class KindTarget(ContextTarget):
    """The kind cluster of a quickstart's name."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self._name = name
        super().__init__(f"kind-{kind_cluster_name(name)}", stack, _kubeconfig(name))

    def clean_up(self) -> str:
        return f"{down_command(self._name)}   # takes the cluster away"


def exists(name: str) -> bool:
    """Whether kind has the cluster; False where there is no kind."""
    return is_kind_available() and kind_cluster_name(name) in run(["kind", "get", "clusters"]).splitlines()


def make(name: str, report: Report) -> None:
    """The cluster, with the Gateway API's CRDs; one that is there already is used as it is."""
    cluster, kubeconfig = kind_cluster_name(name), _kubeconfig(name)
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    where = [f"--name={cluster}", f"--kubeconfig={kubeconfig}"]
    if exists(name):
        run(["kind", "export", "kubeconfig", *where])
    else:
        _long(["kind", "create", "cluster", "--wait=120s", *where], "kind's node", _CREATE_SECONDS, report)
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}"]
    version = json.loads(run([*kubectl, "version", "-o", "json"]))["serverVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, OLDEST_MINOR):
        raise LocalClusterError(
            f"kind's node is Kubernetes {version['gitVersion']}, Headrace needs 1.{OLDEST_MINOR}: install a newer kind "
            f"after `kind delete cluster --name {cluster}`, or use --local"
        )
    report(f"Gateway API's CRDs from {GATEWAY_API_MANIFESTS}")
    run([*kubectl, "apply", "--server-side", "-f", GATEWAY_API_MANIFESTS], timeout=120)


def build(name: str, shorts: tuple[str, ...], report: Report) -> None:
    """The project's images, built by Docker and loaded into the node."""
    secrets = Secrets.of_host()
    known = images.recipes()
    for short in shorts:
        recipe, image = known[short], images.name_of(short)
        command = ["docker", "build", f"--tag={image}", f"--file={recipe.dockerfile}"]
        command += [*secrets.flags, str(recipe.context)]
        _long(command, f"building {image}", _BUILD_SECONDS, report, secrets.variables | {"DOCKER_BUILDKIT": "1"})
        report(f"built {image}")
    load = ["kind", "load", "docker-image", f"--name={kind_cluster_name(name)}", *map(images.name_of, shorts)]
    _long(load, "loading the images into kind's node", _LOAD_SECONDS, report)


def delete(name: str) -> None:
    """Take the cluster away, with its kubeconfig. The images stay in Docker."""
    kubeconfig = _kubeconfig(name)
    run(["kind", "delete", "cluster", f"--name={kind_cluster_name(name)}", f"--kubeconfig={kubeconfig}"], timeout=120)
    kubeconfig.unlink(missing_ok=True)


def _kubeconfig(name: str) -> Path:
    return paths.state().parent / "kind" / name / "kubeconfig"


def _long(
    command: list[str], what: str, seconds: float, report: Report, environment: dict[str, str] | None = None
) -> None:
    """Both programs write their progress to stderr."""
    run_long(command, what=what, timeout=seconds, report=report, describe=_last, environment=environment)


def _last(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "starting")[:90]
