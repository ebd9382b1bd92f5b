"""The example's training jobs: data into the tenant's bucket, the script as a ConfigMap, a job, its progress."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from headrace_local import paths
from headrace_local.errors import LocalClusterError
from headrace_local.quickstart.names import TENANT
from headrace_local.quickstart.platform import Addresses, secret
from headrace_local.quickstart.report import CannotGetDoneError, Report
from headrace_local.quickstart.targets import Target, get
from headrace_local.shell import run

EXAMPLE = paths.REPOSITORY / "examples" / "text-generator"
NAME = "text-generator"

_PREPARE_TIMEOUT = 120.0
_JOB_TIMEOUT = 1500.0


@dataclass(frozen=True)
class Job:
    """One TrainingJob, made of examples/text-generator/trainingjob.yaml."""

    name: str
    parameters: Mapping[str, float]
    gated: bool = True

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = yaml.safe_load((EXAMPLE / "trainingjob.yaml").read_text())
        manifest["metadata"]["name"] = self.name
        manifest["spec"]["parameters"] |= self.parameters
        if not self.gated:
            del manifest["spec"]["evaluation"]
        return manifest


@dataclass(frozen=True)
class Version:
    """The model version that a job brought out."""

    number: str
    digest: str


FIRST = Job(NAME, {})
BETTER = Job(f"{NAME}-2", {"learning_rate": 0.01, "epochs": 3})
# Twenty times as wide, hardly trained, and without a gate: nothing but its canary can stop it.
SLOW = Job(f"{NAME}-3", {"units": 1280, "windows": 512, "epochs": 1}, gated=False)


def upload_corpus(target: Target, report: Report, where: Addresses, folder: Path) -> None:
    """The corpus into the tenant's bucket, with the tenant's own credentials."""
    corpus = folder / "corpus.npz"
    said = run([sys.executable, EXAMPLE / "prepare.py", f"--output={corpus}"], timeout=_PREPARE_TIMEOUT)
    report(f"prepare.py: {said.strip().split(';')[0]}; {said.strip().split(';')[1].strip()}")
    credentials = secret(target, TENANT, "headrace-storage")
    tenant = get(target, "configmap", "headrace-tenant", f"--namespace={TENANT}")["data"]
    store = boto3.client(
        "s3",
        endpoint_url=where.s3,
        region_name=tenant["region"],
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=10, read_timeout=60),
    )
    uri = FIRST.manifest()["spec"]["datasets"][0]["uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    store.upload_file(str(corpus), bucket, key)
    report(f"uploaded as {uri}")


def start_afresh(target: Target, report: Report) -> None:
    """Take away what an earlier quickstart left: a TrainingJob is immutable. Versions in the registry stay."""
    names = [f"trainingjob/{job.name}" for job in (FIRST, BETTER, SLOW)]
    said = target.kubectl(
        "delete",
        f"modelservice/{NAME}",
        *names,
        f"--namespace={TENANT}",
        "--ignore-not-found",
        "--timeout=120s",
        timeout=150,
    )
    for line in said.splitlines():
        report(line)


def put_script(target: Target, report: Report) -> None:
    """The user's script, as it is, into a ConfigMap."""
    manifest = target.kubectl(
        "create",
        "configmap",
        NAME,
        f"--namespace={TENANT}",
        f"--from-file={EXAMPLE / 'train.py'}",
        "--dry-run=client",
        "-o=json",
    )
    target.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    report(f"ConfigMap {NAME} holds train.py, a plain Keras script")


def train(target: Target, report: Report, job: Job) -> Version:
    """Run a job to its end, with its progress; the version that it registered."""
    manifest = job.manifest()
    parameters = " ".join(f"{name}={value}" for name, value in manifest["spec"]["parameters"].items())
    report(f"TrainingJob {job.name}: {parameters}")
    target.kubectl("apply", "--server-side", "-f", "-", f"--namespace={TENANT}", stdin=json.dumps(manifest))
    look_at = f"kubectl -n {TENANT} describe trainingjob {job.name}"

    def look() -> tuple[bool, str]:
        status = get(target, f"trainingjob/{job.name}", f"--namespace={TENANT}").get("status", {})
        state, line = status.get("state", "Pending"), describe(status)
        if state == "Failed":
            failure = status.get("failure") or {}
            said = "\n".join(filter(None, (failure.get("message"), failure.get("hint"), failure.get("logTail"))))
            raise CannotGetDoneError(
                f"TrainingJob {job.name} failed: {status.get('reason')}. {said}\nLook at `{look_at}`."
            )
        return state == "Succeeded", line

    report.wait(
        f"TrainingJob {job.name}", look, timeout=_JOB_TIMEOUT, hint=f"Look at `{look_at}` and at its pod's log."
    )
    status = get(target, f"trainingjob/{job.name}", f"--namespace={TENANT}")["status"]
    model = status.get("model") or {}
    if not model.get("version"):
        why = f"({status.get('reason')}): {_gates(model)}"
        raise LocalClusterError(f"TrainingJob {job.name} registered no version {why} Look at `{look_at}`.")
    for check in (model.get("gate") or {}).get("checks", []):
        report(f"gate: {check['metric']} = {check.get('value')}, at least {check.get('min')}: passed")
    report(f"registered as version {model['version']} of {model['name']}, digest {model['digest'][:19]}...")
    return Version(model["version"], model["digest"])


def describe(status: Mapping[str, Any]) -> str:
    """A job's columns in one line, those that say something."""
    columns = status.get("columns") or {}
    parts = [status.get("state", "Pending"), status.get("reason", "")]
    parts += [columns.get(name, "-") for name in ("progress", "metric")]
    if columns.get("eta", "-") != "-":
        parts.append(f"{columns['eta']} to go")
    return "  ".join(part for part in parts if part and part != "-")


def write_text(url: str, folder: Path) -> str:
    """What client.py writes with the served model."""
    return run([sys.executable, *_client(url, folder), "--words=30", "--timeout=20"], timeout=120).strip()


def client_command(url: str, folder: Path) -> str:
    return f"python3 {shlex.join(_client(url, folder))}"


def _client(url: str, folder: Path) -> list[str]:
    return [str(EXAMPLE / "client.py"), url, NAME, "this license applies to", f"--vocabulary={folder / 'vocab.json'}"]


def _gates(model: Mapping[str, Any]) -> str:
    checks = (model.get("gate") or {}).get("checks", [])
    return " ".join(
        f"{c['metric']} is {c.get('value')}, asked for was {c.get('min')}." for c in checks if not c["passed"]
    )
