"""Tenants as `headrace tenant` makes them, and what their pods may ask of MLflow."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import mlflow
import pytest
from botocore.config import Config
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException

from headrace.cli.main import main
from headrace.kube.client import KubeClient
from headrace.kube.resources import NAMESPACES
from headrace.tenancy.objects import SECRETS
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import Ledger
from headrace_local.platform import ADMIN, REGION, ROOT

IN_CLUSTER = "http://headrace-s3.headrace-system.svc:7070"


@dataclass(frozen=True)
class Platform:
    """The servers, and `headrace tenant` with their administrators' credentials."""

    kubectl: Any
    store: str
    mlflow: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HEADRACE_S3_ACCESS_KEY_ID": ROOT[0],
            "HEADRACE_S3_SECRET_ACCESS_KEY": ROOT[1],
            "HEADRACE_MLFLOW_USERNAME": ADMIN[0],
            "HEADRACE_MLFLOW_PASSWORD": ADMIN[1],
        }

    def headrace(self, *arguments: str, kubeconfig: Path | None = None) -> int:
        flags = ["--kubeconfig", str(kubeconfig or self.kubectl.kubeconfig)]
        if arguments[1] != "list":
            flags += ["--s3-url", self.store, "--s3-endpoint", IN_CLUSTER, "--mlflow-url", self.mlflow]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return main([*arguments, *flags])

    def new_namespace(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.kube(lambda client: client.create(NAMESPACES, {"metadata": {"name": name}}))
        return name

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        found = self.kube(lambda client: client.get(SECRETS, namespace, name))
        assert found is not None, f"no Secret {name}"
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def kube(self, call: Callable[[KubeClient], Awaitable[Any]]) -> Any:
        """One call of an administrator, without starting a kubectl for it."""

        async def connected() -> Any:
            async with KubeClient.session(self.kubectl.kubeconfig) as client:
                return await call(client)

        return asyncio.run(connected())

    def s3(self, key_id: str, secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.store,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=15),
        )


@dataclass(frozen=True)
class Team:
    """A tenant as its pods are: with the credentials of its Secrets, and a run that the operator's experiment holds."""

    platform: Platform
    namespace: str
    writer: Any
    reader: Any
    experiment_id: str
    location: str
    run_id: str

    @property
    def model(self) -> str:
        return f"{self.namespace}.text"

    def become(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give this process the environment of the tenant's training pods."""
        for name, value in self.platform.secret(self.namespace, "headrace-storage").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", self.platform.store)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

    def tracking(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.platform.mlflow)


def new_team(platform: Platform) -> Team:
    """A tenant with an experiment, a run and a model with one version, as the operator makes them."""
    namespace = platform.new_namespace()
    assert platform.headrace("tenant", "add", namespace) == 0
    storage, read = platform.secret(namespace, "headrace-storage"), platform.secret(namespace, "headrace-storage-read")

    async def operate() -> tuple[str, str, str]:
        async with aiohttp.ClientSession() as session:
            client = MlflowClient(platform.mlflow, *ADMIN, session)
            ledger = Ledger(client)
            user = platform.kubectl.get("configmap", "headrace-tenant", namespace)["data"]["mlflowUser"]
            experiment = await ledger.ensure_experiment(namespace, "generation", namespace, user)
            await ledger.ensure_model(namespace, "text", user)
            await ledger.register(f"{namespace}.text", "", "sha256:1", f"s3://{namespace}/model", "uid-1")
            await ledger.point_alias(f"{namespace}.text", "candidate", "1")
            body = {"experiment_id": experiment.id}
            run = await client._call("POST", "2.0/mlflow/runs/create", "a run", body=body)
            return experiment.id, experiment.artifact_location, run["run"]["info"]["run_id"]

    experiment_id, location, run_id = asyncio.run(operate())
    writer = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    reader = platform.s3(read["AWS_ACCESS_KEY_ID"], read["AWS_SECRET_ACCESS_KEY"])
    writer.put_object(Bucket=namespace, Key="corpus.txt", Body=b"to be or not to be")
    return Team(platform, namespace, writer, reader, experiment_id, location, run_id)


Act = Callable[[Team, Team], object]

DATASET = DatasetInput(Dataset("corpus", "9f86d081", "s3", '{"uri": "s3://bucket/corpus.txt"}'))

REGISTRY: list[tuple[str, bool, Act]] = [
    ("see its experiment", True, lambda a, b: a.tracking().get_experiment_by_name(f"{a.namespace}/generation")),
    ("see its model", True, lambda a, b: a.tracking().get_registered_model(a.model)),
    ("see its version by alias", True, lambda a, b: a.tracking().get_model_version_by_alias(a.model, "candidate")),
    ("search its runs", True, lambda a, b: a.tracking().search_runs([a.experiment_id])),
    ("log what its run was trained with", True, lambda a, b: a.tracking().log_inputs(a.run_id, [DATASET])),
    ("make an experiment", False, lambda a, b: a.tracking().create_experiment(f"{a.namespace}/own")),
    (
        "rename its experiment into another namespace",
        False,
        lambda a, b: a.tracking().rename_experiment(a.experiment_id, f"{b.namespace}/stolen"),
    ),
    ("tag its experiment", False, lambda a, b: a.tracking().set_experiment_tag(a.experiment_id, "headrace.x", "y")),
    ("delete its experiment", False, lambda a, b: a.tracking().delete_experiment(a.experiment_id)),
    ("make a model", False, lambda a, b: a.tracking().create_registered_model(f"{a.namespace}.own")),
    ("make a prompt", False, lambda a, b: a.tracking().register_prompt(f"{a.namespace}-prompt", "{{x}}")),
    ("register a version", False, lambda a, b: a.tracking().create_model_version(a.model, f"s3://{a.namespace}/m")),
    ("move an alias", False, lambda a, b: a.tracking().set_registered_model_alias(a.model, "candidate", "1")),
    ("delete an alias", False, lambda a, b: a.tracking().delete_registered_model_alias(a.model, "candidate")),
    ("tag a version", False, lambda a, b: a.tracking().set_model_version_tag(a.model, "1", "headrace.digest", "x")),
    ("delete a version", False, lambda a, b: a.tracking().delete_model_version(a.model, "1")),
    ("log to another's experiment", False, lambda a, b: a.tracking().create_run(b.experiment_id)),
    ("see another's experiment", False, lambda a, b: a.tracking().get_experiment(b.experiment_id)),
    ("see another's run", False, lambda a, b: a.tracking().get_run(b.run_id)),
    ("see another's artifacts", False, lambda a, b: a.tracking().list_artifacts(b.run_id)),
    ("log to another's run", False, lambda a, b: a.tracking().log_metric(b.run_id, "loss", 0.0)),
    ("log a dataset to another's run", False, lambda a, b: a.tracking().log_inputs(b.run_id, [DATASET])),
    ("end another's run", False, lambda a, b: a.tracking().set_terminated(b.run_id)),
    ("delete another's run", False, lambda a, b: a.tracking().delete_run(b.run_id)),
    ("see another's model", False, lambda a, b: a.tracking().get_registered_model(b.model)),
    ("move another's alias", False, lambda a, b: a.tracking().set_registered_model_alias(b.model, "candidate", "1")),
]


def judge(allowed: bool, attempt: Act, teams: tuple[Team, Team]) -> None:
    """A row of `REGISTRY`, with this process's environment being the first team's."""
    if allowed:
        attempt(*teams)
        return
    with pytest.raises(MlflowException) as refused:
        attempt(*teams)
    assert refused.value.get_http_status_code() == 403, str(refused.value)
