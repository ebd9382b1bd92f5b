"""`headrace example list|run NAME`: the gallery of models. What is done is in `headrace.gallery`."""

import argparse
import asyncio
import shlex
import sys
import time

from headrace.cli.cluster import add_cluster_arguments, cluster, context_namespace
from headrace.cli.errors import USAGE, CommandError
from headrace.gallery.catalogue import UnknownExample, example, examples
from headrace.gallery.gateway import NoAnswer, await_answer
from headrace.gallery.progress import address_of
from headrace.gallery.run import CannotRun, run
from headrace.kube.errors import KubeError
from headrace.kube.resources import Object

SECONDS = 1800.0
# What status.url has in place of a host that the operator cannot know.
GATEWAY = "http://GATEWAY"


class ExampleCommand:
    name = "example"
    help = "list the example models, or train and serve one of them"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
        listing = actions.add_parser("list", help="the examples, and where their files are")
        listing.set_defaults(act=_list)
        running = actions.add_parser(
            "run",
            help="apply an example's script, TrainingJob and ModelService, and wait until it serves",
            description="May be repeated: what is there already is kept, and a job that has succeeded is not run anew.",
        )
        running.add_argument("name")
        running.add_argument(
            "--namespace", "-n", default="", help="one of `headrace tenant list` (default: the context's)"
        )
        running.add_argument(
            "--timeout", type=float, default=SECONDS, metavar="SECONDS", help="default: %(default)s, for all of it"
        )
        running.add_argument(
            "--gateway",
            default="",
            metavar="URL",
            help="how this machine reaches the gateway, for the client's command; the model has to answer there",
        )
        add_cluster_arguments(running)
        running.set_defaults(act=_run)

    def run(self, args: argparse.Namespace) -> int:
        try:
            args.act(args)
        except UnknownExample as error:
            raise CommandError(str(error), USAGE) from error
        except (CannotRun, KubeError) as error:
            raise CommandError(str(error)) from error
        except NoAnswer as error:
            hint = "it is served; is --gateway how this machine reaches the gateway?"
            raise CommandError(f"{error}: {hint}") from error
        return 0


def _list(args: argparse.Namespace) -> None:
    if not examples():
        raise CommandError("this installation is without examples: install the package from a checkout")
    rows = [("NAME", "WHAT", "FILES"), *((each.name, each.title, str(each.folder)) for each in examples())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _run(args: argparse.Namespace) -> None:
    wanted, namespace, begun = example(args.name), args.namespace or context_namespace(args), time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {line}", flush=True)

    async def go() -> tuple[Object, ...]:
        async with cluster(args) as kube:
            return await run(wanted, namespace, kube, report, seconds=args.timeout)

    report(f"in namespace {namespace}")
    try:
        services = asyncio.run(go())
    except KeyboardInterrupt:
        look = f"kubectl -n {namespace} get trainingjobs,modelservices"
        print(f"\nWhat is applied goes on: look at it with `{look}`", file=sys.stderr)
        raise
    gateway = (args.gateway or GATEWAY).rstrip("/")
    if args.gateway:
        for service in services:
            await_answer(service["status"]["url"].replace(GATEWAY, gateway))
    print("Ask it:")
    for service in services:
        url = address_of(service).replace(GATEWAY, gateway)
        print(f"  python3 {shlex.join([str(wanted.client), url, service['metadata']['name']])}")
    if any(address_of(service).startswith(GATEWAY) for service in services) and not args.gateway:
        print(
            "GATEWAY is where this machine reaches the cluster's gateway: its address, if `kubectl get gateways "
            "--all-namespaces` has one, or a port that is forwarded to it (`headrace local forward`, `kubectl "
            "port-forward`). --gateway URL puts it into the command."
        )
