"""What comes before the first phase, with the system's own Python and its standard library: what is going to happen,
whether the machine has what it takes, and .venv. `__main__` is run with that then, in this process' place.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from headrace_local import paths, prerequisites
from headrace_local.errors import LocalClusterError
from headrace_local.prerequisites import Missing
from headrace_local.quickstart.arguments import Way, parser, way_of
from headrace_local.quickstart.names import SYSTEM, TENANT, down_command, kind_cluster_name
from headrace_local.quickstart.report import Report
from headrace_local.shell import end_as_interrupted_on_sigterm, run_long

_INTERRUPTED = 130
_ENVIRONMENT_SECONDS = 3600.0
_AGAIN = "Run the same command again to continue."
_NOTHING_YET = "No cluster was made, and nothing in one was changed."


def main() -> int:
    """The exit status where the quickstart ends here already."""
    args = parser().parse_args()
    end_as_interrupted_on_sigterm()
    report = Report()
    try:
        if not args.down:
            _begin(args, report)
        with report.phase("environment: .venv, the packages of requirements/test.txt"):
            _make_environment(report)
    except LocalClusterError as error:
        print(f"\nquickstart: {error}\n{_NOTHING_YET}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nquickstart: interrupted after {report.seconds:.0f} s. {_NOTHING_YET}\n{_AGAIN}", file=sys.stderr)
        return _INTERRUPTED
    return _go_on_in_environment()


def _go_on_in_environment() -> NoReturn:
    python = str(_environment() / "bin" / "python")
    os.execv(python, [python, "-m", "headrace_local.quickstart", *sys.argv[1:]])


def _begin(args: argparse.Namespace, report: Report) -> None:
    """Raises LocalClusterError with all that is missing."""
    way = way_of(args)
    if args.context is not None and not args.installed and not (args.registry and args.tag):
        raise LocalClusterError(
            "--context needs --registry and --tag: the cluster's nodes pull Headrace's images from there. Where "
            "Headrace is installed already: --installed"
        )
    print(intro(args, way), flush=True)
    if way is Way.LOCAL and os.geteuid() != 0:
        raise LocalClusterError("the local cluster needs root: start this with sudo, or name a cluster with --context")
    prerequisites.require(install=args.install_prerequisites, report=report, look=lambda: missing(way))


def missing(way: Way) -> list[Missing]:
    """All that the machine lacks for the way."""
    found = [*prerequisites.programs({"curl": "curl"}), *(() if _can_make_environment() else (_VENV,))]
    return [*found, *prerequisites.check()] if way is Way.LOCAL else found


def intro(args: argparse.Namespace, way: Way) -> str:
    """What is going to happen."""
    if way is Way.CONTEXT:
        return f"This works in context {args.context}, namespaces {SYSTEM} and {TENANT}."
    ends = f"Ctrl-C leaves it as it is then; {down_command(args.name)} deletes it."
    if args.installed:
        return f"This uses the cluster {args.name} as it is, and trains and serves there in namespace {TENANT}.\n{ends}"
    if way is Way.KIND:
        return (
            f"kind is here, and Docker answers: this makes the kind cluster {kind_cluster_name(args.name)}, with a\n"
            "kubeconfig of its own, builds Headrace's images with Docker, and trains and serves in namespace\n"
            f"{TENANT}. --local makes a cluster of upstream's programs instead, which is the way that the project's\n"
            f"tests go.\n{ends}"
        )
    return (
        f"This makes a one-node Kubernetes called {args.name} on this machine, with a network, a containerd and a\n"
        "kubelet of its own, reached through loopback ports only, builds Headrace's images into it, and trains and\n"
        f"serves there in namespace {TENANT}. The first time everything is compiled, which takes many\n"
        f"minutes on two cores, and takes 30 GB of disk, most of it in {paths.cache()}.\n{ends}"
    )


_VENV = Missing("Python's venv", "apt-get install python3-venv", "python3-venv")


def _can_make_environment() -> bool:
    """Debian keeps what makes one apart from Python."""
    return (_environment() / "bin" / "python").exists() or prerequisites.has_module("ensurepip")


def _make_environment(report: Report) -> None:
    run_long(
        [paths.REPOSITORY / "scripts" / "environment"],
        what="environment",
        timeout=_ENVIRONMENT_SECONDS,
        report=report,
        describe=lambda _: _how_far(_environment(), paths.REPOSITORY / "requirements" / "test.txt"),
    )


def _how_far(environment: Path, lock: Path) -> str:
    wanted = len(re.findall(r"^[^\s#]+==", lock.read_text(), re.MULTILINE))
    there = sum(1 for _ in environment.glob("lib/python*/site-packages/*.dist-info"))
    return f"{min(there, wanted)} of {wanted} packages are installed; all are downloaded before the first one is"


def _environment() -> Path:
    return paths.REPOSITORY / ".venv"
