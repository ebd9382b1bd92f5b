"""`headrace model add`: a model that was trained elsewhere becomes a version. What is done is in `headrace.adding`."""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from headrace.adding.add import Adding
from headrace.adding.bucket import why_no_url
from headrace.adding.errors import CannotAdd
from headrace.adding.given import Given, look, what_it_says
from headrace.adding.registered import ADDRESS, Registered, parse
from headrace.adding.request import Origin, Wish, without_keys
from headrace.api.base import why_not
from headrace.api.common import Quantity
from headrace.api.scalars import Alias, DataURI, Label, Sha256, Subdomain
from headrace.api.trainingjob_status import ApprovalState
from headrace.applied import CannotRun, Report
from headrace.cli.cluster import add_cluster_arguments, cluster, context_namespace
from headrace.cli.errors import USAGE, CommandError
from headrace.kube.errors import KubeError
from headrace.kube.resources import Object
from headrace.sentences import bytes_said, listed
from headrace.tenancy.objects import STORAGE_SECRET
from headrace.tracking.redaction import redacted
from headrace_common.formats import ModelFormat

SECONDS = 3600.0
_READ_BY_THE_POD = ("s3://", "gs://", "az://", "https://")
_KINDS = {
    "name": Label,
    "namespace": Label,
    "experiment": Label,
    "alias": Alias,
    "secret": Subdomain,
    "service_account": Subdomain,
    "memory": Quantity,
}
_EVALUATE = (
    "it has to have the fields of spec.evaluate of a TrainingJob, such as task and data, alone or under one evaluate:"
)
_NO_SHA256 = "--sha256 is of a file at https://: leave it out"
_NEEDED = ("name", "experiment")
_RUNTIMES = {
    ModelFormat.ONNX.value: "onnxruntime",
    ModelFormat.TENSORFLOW.value: "tensorflow-serving",
    ModelFormat.TEXT.value: "text",
}


class ModelCommand:
    name = "model"
    help = "make a version of a model that was trained elsewhere"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
        add = actions.add_parser(
            "add",
            help="add an ONNX model or a SavedModel, and wait until it is a version",
            description="May be repeated: what was sent or asked for already is not sent or asked for again.",
        )
        add.add_argument(
            "what",
            metavar="PATH|ADDRESS",
            help="an ONNX file, a folder with one and its weights, the folder of a SavedModel, or of a decoder as "
            "onnxruntime-genai has it; or where the cluster reads it itself: s3://BUCKET/FILE.onnx, "
            "s3://BUCKET/FOLDER/, gs://, az://, https://HOST/FILE.onnx (with --sha256), models:/NAME/VERSION or "
            "models:/NAME@ALIAS of MLflow",
        )
        add.add_argument("--name", required=True, metavar="MODEL", help="of the model, local to the namespace")
        add.add_argument("--namespace", "-n", default="", help="one of `headrace tenant list` (default: the context's)")
        add.add_argument("--alias", default="", help="to point at the version, such as candidate")
        add.add_argument("--experiment", default="added", help="that has the run (default: %(default)s)")
        add.add_argument("--sha256", default="", help="of a file at https://, as sha256sum prints it")
        add.add_argument("--format", choices=list(_RUNTIMES), help="of a folder at an address, if it is Text")
        add.add_argument(
            "--evaluate", type=Path, metavar="FILE", help="YAML with what spec.evaluate of a TrainingJob has"
        )
        add.add_argument("--approval", action="store_true", help="a person has to approve the version")
        add.add_argument(
            "--secret", default=STORAGE_SECRET, help='with the keys of the bucket (default: %(default)s; "": none)'
        )
        add.add_argument("--service-account", default="", metavar="NAME", help="that the job's pod runs as")
        add.add_argument(
            "--memory",
            default="",
            metavar="QUANTITY",
            help="that the job's pod may use, such as 8Gi (default: by the model's size; for an address 6Gi)",
        )
        add.add_argument("--s3-url", default="", metavar="URL", help="how this machine reaches the store")
        add.add_argument(
            "--mlflow-url",
            default=os.environ.get("MLFLOW_TRACKING_URI", ""),
            metavar="URL",
            help="how this machine reaches MLflow, for models:/ (default: MLFLOW_TRACKING_URI)",
        )
        add.add_argument("--timeout", type=float, default=SECONDS, metavar="SECONDS", help="default: %(default)s")
        add_cluster_arguments(add)
        add.set_defaults(act=_add)

    def run(self, args: argparse.Namespace) -> int:
        try:
            args.act(args)
        except (CannotAdd, CannotRun, KubeError) as error:
            raise CommandError(str(error)) from error
        return 0


def _add(args: argparse.Namespace) -> None:
    begun = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {line}", flush=True)

    _must_be_well_named(args)
    evaluate = evaluation(args.evaluate)
    is_address = "://" in args.what or args.what.startswith("models:")
    if args.format and not (is_address and args.what.endswith("/")):
        raise CommandError("--format is of a folder at an address: leave it out", USAGE)
    asked = _asked(args, report)
    wish = Wish(
        namespace=args.namespace or context_namespace(args),
        model=args.name,
        experiment=args.experiment,
        alias=args.alias,
        needs_approval=args.approval,
        evaluate=evaluate,
        secret=args.secret,
        service_account=args.service_account,
        memory=args.memory,
    )

    async def go() -> Object:
        async with cluster(args) as kube:
            adding = Adding(kube, wish, report, args.timeout, args.s3_url)
            if isinstance(asked, Given):
                return await adding.of_files(asked)
            if isinstance(asked, Registered):
                return await adding.of_registered(asked, args.mlflow_url)
            return await adding.of_address(asked)

    report(f"in namespace {wish.namespace}")
    try:
        job = asyncio.run(go())
    except KeyboardInterrupt:
        print(
            "\nFiles that were uploaded whole stay, and a TrainingJob that was applied goes on; the same command goes "
            f"on from there. Look with `kubectl -n {wish.namespace} get trainingjobs`",
            file=sys.stderr,
        )
        raise
    print("\n".join(told(job, wish)))


def _must_be_well_named(args: argparse.Namespace) -> None:
    """By the API's own patterns, before anything is read, asked or sent."""
    for name, kind in _KINDS.items():
        text = getattr(args, name)
        if (text or name in _NEEDED) and (why := why_not(kind, text)) is not None:
            raise CommandError(f"--{name.replace('_', '-')} {text!r} {why}", USAGE)
    if args.s3_url and (why := why_no_url(args.s3_url)) is not None:
        raise CommandError(f"--s3-url {why}", USAGE)


def _given(args: argparse.Namespace, report: Report) -> Given:
    if args.sha256:
        raise CommandError(_NO_SHA256, USAGE)
    given = look(Path(args.what))
    report(f"{given.format}: {len(given.files)} files, {bytes_said(given.size)}, {given.digest}")
    report(what_it_says(given))
    if given.left_out:
        report(f"left out: {listed(given.left_out)}")
    return given


def _asked(args: argparse.Namespace, report: Report) -> Given | Registered | Origin:
    if args.what.startswith("models:"):
        return _registered(args)
    return _origin(args.what, args.sha256, args.format) if "://" in args.what else _given(args, report)


def _registered(args: argparse.Namespace) -> Registered:
    if args.sha256:
        raise CommandError(_NO_SHA256, USAGE)
    try:
        found = parse(args.what)
    except CannotAdd as error:
        raise CommandError(str(error), USAGE) from error
    if not args.mlflow_url:
        forward = "`kubectl -n headrace-system port-forward service/headrace-mlflow 5000`"
        raise CommandError(
            f"{ADDRESS} needs --mlflow-url, or MLFLOW_TRACKING_URI: MLflow as this machine reaches it, such as "
            f"http://127.0.0.1:5000 with {forward}",
            USAGE,
        )
    url = args.mlflow_url
    if "@" in url:
        raise CommandError(
            f"--mlflow-url {redacted(url)} has a user or password in it: those of the Secret are used", USAGE
        )
    if (why := why_no_url(url)) is not None:
        raise CommandError(f"--mlflow-url {why}", USAGE)
    return found


def _origin(address: str, sha256: str, format: str | None) -> Origin:
    shown = without_keys(address)
    if not address.startswith(_READ_BY_THE_POD):
        raise CommandError(f"{shown}: addresses begin with {', '.join(_READ_BY_THE_POD)}", USAGE)
    if (why := why_not(DataURI, address)) is not None:
        raise CommandError(f"{shown}: an address {why}", USAGE)
    is_onnx = address.endswith(".onnx")
    if address.startswith("https://"):
        if not sha256:
            raise CommandError("a file on the web needs --sha256: nothing else says which bytes are meant", USAGE)
        if (why := why_not(Sha256, sha256.lower())) is not None:
            raise CommandError(f"--sha256 {sha256!r} {why}", USAGE)
        return Origin(address, sha256.lower(), given=address, format=ModelFormat.ONNX)
    if sha256:
        raise CommandError(_NO_SHA256, USAGE)
    if not is_onnx and not address.endswith("/"):
        raise CommandError(f"{shown}: a folder ends with /, a file with .onnx", USAGE)
    known = ModelFormat.ONNX if is_onnx else ModelFormat(format) if format else None
    return Origin(address, given=address, format=known)


def evaluation(path: Path | None) -> dict[str, Any]:
    """What the file has, alone or under `evaluate:`; nothing where none is named. Raises CommandError."""
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        json.dumps(found, allow_nan=False)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", USAGE) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{path} is not YAML: {error}: {_EVALUATE}", USAGE) from error
    except (TypeError, ValueError) as error:  # such as a date, which has to stand in quotes
        raise CommandError(
            f"{path} has a value that is no text, number, list or map: {error}: {_EVALUATE}", USAGE
        ) from error
    fields = found["evaluate"] if isinstance(found, dict) and found.keys() == {"evaluate"} else found
    if not isinstance(fields, dict) or not fields:
        raise CommandError(f"{path} has no fields of an evaluation: {_EVALUATE}", USAGE)
    if "evaluate" in fields:
        others = listed(str(name) for name in fields if name != "evaluate")
        raise CommandError(f"{path} has {others or 'evaluate'} beside evaluate: {_EVALUATE}", USAGE)
    return fields


def told(job: Object, wish: Wish) -> list[str]:
    """The version, what a person has said of it, and the lines that serve it."""
    model = job["status"]["model"]
    approval = model.get("approval") or ({"state": ApprovalState.AWAITING} if wish.needs_approval else {})
    lines = [f"version {model['version']} of {model['name']} ({model.get('digest', '')})"]
    state, by = approval.get("state"), approval.get("by") or "somebody"
    if state == ApprovalState.REFUSED:
        why = approval.get("reason")
        return [*lines, f"it was refused by {by}" + (f": {why}" if why else "")]
    if state == ApprovalState.APPROVED:
        lines.append(f"it was approved by {by}")
    elif approval:
        lines.append(f"it waits for an approval: headrace approve {job['metadata']['name']} -n {wish.namespace}")
    return [*lines, *_served(job, wish)]


def _served(job: Object, wish: Wish) -> list[str]:
    formats = job["spec"]["output"].get("formats") or []
    runtime = _RUNTIMES.get(formats[0], "") if formats else ""
    which = f"alias: {wish.alias}" if wish.alias else f'version: "{job["status"]["model"]["version"]}"'
    lines = ["In a ModelService:", "  spec:", f"    model: {{registry: {{name: {wish.model}, {which}}}}}"]
    return lines + ([f"    runtime: {{name: {runtime}}}"] if runtime else [])
