"""`headrace local ...`: brings an instance up, takes it away, shows it, builds into it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from headrace_local import components, host
from headrace_local.errors import LocalClusterError
from headrace_local.instance import DEFAULT_NAME, Instance
from headrace_local.shell import end_as_interrupted_on_sigterm

_INTERRUPTED = 130


class Command:
    """The entry of the group `headrace.commands`."""

    name = "local"
    help = "a real one-node Kubernetes on this machine, for trials and tests (needs root)"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        up = _verb(verbs, "up", "bring an instance up, or bring back what is missing of it")
        up.add_argument("--install-prerequisites", action="store_true", help="apt-get install what the machine lacks")
        down = _verb(verbs, "down", "take an instance away, with everything in it")
        down.add_argument("--purge", action="store_true", help="remove its images and build cache too")
        _verb(verbs, "status", "show an instance's programs, and which instances there are")
        logs = _verb(verbs, "logs", "show what an instance's programs have written")
        logs.add_argument("component", nargs="?", choices=components.NAMES, help="one program only")
        logs.add_argument("--follow", "-f", action="store_true", help="go on as more is written")
        build = _verb(verbs, "build", "build the project's images into an instance, as headrace.local/IMAGE:dev")
        build.add_argument("image", nargs="*", help="operator, or a folder of runtimes/; without any, all")
        forward = _verb(verbs, "forward", "print a loopback port that leads to a Service or to an address inside")
        forward.add_argument("target", help="a Service's name, or an address")
        forward.add_argument("port", type=int)
        forward.add_argument("--namespace", "-n", default="default", help="of the Service (default: default)")

    def run(self, args: argparse.Namespace) -> int:
        # A terminated `up` must clean up as an interrupted one does.
        end_as_interrupted_on_sigterm()
        try:
            instance = Instance(args.name)
            if os.geteuid() != 0:
                raise LocalClusterError("root is needed, for namespaces, mounts and firewall rules: start it with sudo")
            return int(_VERBS[args.verb](instance, args))
        except LocalClusterError as error:
            print(f"headrace local {args.verb}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return _INTERRUPTED


def _verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"the instance (default: {DEFAULT_NAME})")
    return parser


def _up(instance: Instance, args: argparse.Namespace) -> int:
    instance.up(install_prerequisites=args.install_prerequisites)
    print(f"export KUBECONFIG={instance.kubeconfig}")
    print(f"# kubectl, where there is none: {instance.binaries.path('kubectl')}", file=sys.stderr)
    return 0


def _down(instance: Instance, args: argparse.Namespace) -> int:
    instance.down(purge=args.purge)
    return 0


def _status(instance: Instance, args: argparse.Namespace) -> int:
    del args
    names = host.instances()
    print(f"instances: {', '.join(names) if names else 'none'}")
    if not instance.exists():
        print(f"{instance.name} does not exist: `headrace local up --name {instance.name}`")
        return 1
    print(f"{instance.name}: KUBECONFIG={instance.kubeconfig}")
    print(f"{'COMPONENT':<44}{'PID':>8}{'MIB':>6}")
    for status in instance.status():
        pid, memory = (value if value is not None else "-" for value in (status.pid, status.memory_mib))
        print(f"{status.component:<44}{pid:>8}{memory:>6}")
    return 0 if instance.is_running() else 1


def _logs(instance: Instance, args: argparse.Namespace) -> int:
    folder = instance.paths.logs
    files = [folder / f"{args.component}.log"] if args.component else sorted(folder.glob("*.log"))
    if not files or not files[0].exists():
        raise LocalClusterError(f"there are no logs in {folder}: does {instance.name} run?")
    return subprocess.call(["tail", "-n", "200", *(["-F"] if args.follow else []), *map(str, files)])


def _build(instance: Instance, args: argparse.Namespace) -> int:
    for name in instance.build_project(args.image):
        print(name)
    return 0


def _forward(instance: Instance, args: argparse.Namespace) -> int:
    print(instance.forward(args.target, args.port, namespace=args.namespace))
    return 0


_VERBS = {"up": _up, "down": _down, "status": _status, "logs": _logs, "build": _build, "forward": _forward}
