"""What the quickstart can be told, and which way that makes it go. Nothing here needs a package."""

from __future__ import annotations

import argparse
import shutil
from enum import StrEnum
from pathlib import Path

from headrace_local.errors import LocalClusterError
from headrace_local.quickstart.names import DEFAULT_INSTANCE
from headrace_local.shell import run

KIND_PROGRAMS = ("kind", "kubectl", "docker")
_ANSWER_SECONDS = 10.0


class Way(StrEnum):
    """Where the cluster comes from."""

    CONTEXT = "a context of the user's kubeconfig"
    KIND = "kind"
    LOCAL = "upstream's programs"


def parser() -> argparse.ArgumentParser:
    """Of the command line of scripts/quickstart."""
    made = argparse.ArgumentParser(
        prog="scripts/quickstart",
        description="From nothing to a model that is trained, tracked, served, replaced by a better one step by step, "
        "and defended against a bad one. Without --context in a cluster of its own on this machine: kind's where "
        "Docker answers and kind is installed, else one of upstream's programs (root is needed).",
    )
    made.add_argument("--down", action="store_true", help="delete that cluster, with its images")
    made.add_argument("--name", default=DEFAULT_INSTANCE, help="of that cluster (default: %(default)s)")
    made.add_argument("--local", action="store_true", help="upstream's programs also where kind is there")
    made.add_argument(
        "--install-prerequisites", action="store_true", help="apt-get install what the machine lacks for that cluster"
    )
    made.add_argument(
        "--context",
        metavar="NAME",
        help="use this context of your kubeconfig instead; its nodes pull Headrace's images from --registry",
    )
    made.add_argument("--registry", metavar="HOST/PATH", help="with --context: where the images are")
    made.add_argument("--tag", help="with --context: the images' tag")
    made.add_argument(
        "--installed", action="store_true", help="the cluster and Headrace in it are there: leave both as they are"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the phases and their seconds there")
    return made


def way_of(args: argparse.Namespace) -> Way:
    """Which cluster is meant."""
    if args.context is not None:
        return Way.CONTEXT
    return Way.KIND if not args.local and is_kind_available() else Way.LOCAL


def is_kind_available() -> bool:
    """Whether kind can make a cluster here: its programs are installed, and `docker info` answers."""
    if any(shutil.which(program) is None for program in KIND_PROGRAMS):
        return False
    try:
        run(["docker", "info"], timeout=_ANSWER_SECONDS)
    except LocalClusterError:
        return False
    return True
