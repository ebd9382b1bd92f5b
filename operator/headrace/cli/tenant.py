"""`headrace tenant add|remove|list`: the credentials of a namespace. What is done is in `headrace.tenancy`."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from headrace.cli.cluster import add_cluster_arguments, cluster
from headrace.cli.errors import CommandError
from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.tenancy.errors import TenancyError
from headrace.tenancy.objects import READ_SECRET, STORAGE_SECRET, TENANT_CONFIGMAP
from headrace.tenancy.platform import DEFAULT_NAMESPACE, DEFAULT_REGION, DEFAULT_RELEASE, Where, find_platform
from headrace.tenancy.registrar import Registrar, known_tenant, list_tenants
from headrace.tenancy.store import Store
from headrace.tenancy.tenant import Tenant
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError


class TenantCommand:
    name = "tenant"
    help = "make, list and remove the credentials with which a namespace trains and serves"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
        add = actions.add_parser(
            "add",
            help="make a bucket, its users and an MLflow user for a namespace, and the Secrets that hold them",
            description="May be repeated: credentials that exist are kept, what is missing is made.",
        )
        add.add_argument("namespace", help="a namespace that exists")
        add.add_argument("--bucket", default="", help="default: the namespace's name, or the bucket it has already")
        add.add_argument("--rotate", action="store_true", help="replace all credentials by new ones")
        add.set_defaults(act=_add)
        remove = actions.add_parser(
            "remove",
            help="take a namespace's users and Secrets away; its bucket, runs and models stay",
        )
        remove.add_argument("namespace")
        remove.set_defaults(act=_remove)
        listing = actions.add_parser("list", help="the namespaces that have credentials")
        listing.set_defaults(act=_list)
        for action in (add, remove, listing):
            add_cluster_arguments(action)
        for action in (add, remove):
            _add_platform_arguments(action)

    def run(self, args: argparse.Namespace) -> int:
        try:
            asyncio.run(args.act(args))
        except (TenancyError, TrackingError, KubeError) as error:
            raise CommandError(str(error)) from error
        return 0


def _add_platform_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "platform",
        "Where the store and MLflow are. Administrators' credentials come from HEADRACE_S3_ACCESS_KEY_ID, "
        "HEADRACE_S3_SECRET_ACCESS_KEY, HEADRACE_MLFLOW_USERNAME and HEADRACE_MLFLOW_PASSWORD, or from the chart's "
        "Secrets.",
    )
    group.add_argument("--system-namespace", default=DEFAULT_NAMESPACE, help="of the release (default: %(default)s)")
    group.add_argument("--release", default=DEFAULT_RELEASE, help="name of the Helm release (default: %(default)s)")
    group.add_argument("--s3-endpoint", default="", metavar="URL", help="as pods reach it (default: the chart's store)")
    group.add_argument(
        "--s3-url", default="", metavar="URL", help="as this machine reaches it (default: --s3-endpoint)"
    )
    group.add_argument("--s3-region", default="", metavar="REGION", help=f"default: {DEFAULT_REGION}")
    group.add_argument(
        "--mlflow-url", default="", metavar="URL", help="as this machine reaches it (default: the chart's MLflow)"
    )


async def _add(args: argparse.Namespace) -> None:
    wanted = Tenant.of(args.namespace, args.bucket)
    async with cluster(args) as kube, _registrar(kube, args) as registrar:
        tenant = wanted if args.bucket else await known_tenant(kube, wanted)
        missing = await (registrar.rotate(tenant) if args.rotate else registrar.add(tenant))
    print(f"tenant {tenant.namespace}: bucket {tenant.bucket}, MLflow user {tenant.mlflow_user}")
    print(f"training uses Secret {STORAGE_SECRET}, serving Secret {READ_SECRET}; ConfigMap {TENANT_CONFIGMAP}")
    _warn(missing)


async def _remove(args: argparse.Namespace) -> None:
    wanted = Tenant.of(args.namespace, "")
    async with cluster(args) as kube, _registrar(kube, args) as registrar:
        tenant = await known_tenant(kube, wanted)
        left = await registrar.remove(tenant)
    print(f"tenant {tenant.namespace} removed; bucket {tenant.bucket} and its runs and models are kept")
    _warn(left)


def _warn(text: str) -> None:
    if text:
        print(f"warning: {text}", file=sys.stderr)


async def _list(args: argparse.Namespace) -> None:
    async with cluster(args) as kube:
        tenants = await list_tenants(kube)
    rows = [("NAMESPACE", "BUCKET", "MLFLOW USER", "ENDPOINT")]
    rows += [(entry.namespace, entry.bucket, entry.mlflow_user, entry.endpoint) for entry in tenants]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@asynccontextmanager
async def _registrar(kube: KubeClient, args: argparse.Namespace) -> AsyncIterator[Registrar]:
    where = Where(
        namespace=args.system_namespace,
        release=args.release,
        s3_endpoint=args.s3_endpoint,
        s3_url=args.s3_url,
        mlflow_url=args.mlflow_url,
        region=args.s3_region,
    )
    found = await find_platform(kube, where, os.environ)
    async with aiohttp.ClientSession(trust_env=False) as session:
        store = Store(found.s3_url, found.addresses.region, found.s3_root, session)
        mlflow = MlflowClient(found.mlflow_url, found.mlflow_admin.username, found.mlflow_admin.password, session)
        yield Registrar(kube, store, mlflow, found.addresses, found.s3_viewer)
