"""`headrace model add` on a real API server, MLflow and store, with the operator's own passes and the real launcher: a
model that nobody here has trained ends as a registered version with the given bytes. Only the kubelet is played.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import mlflow.onnx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.adding.bucket import Bucket
from headrace.adding.there import There, etag_of
from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.keys import Key
from headrace.kube.resources import CONFIGMAPS, PODS, TRAININGJOBS, Object
from headrace.settings import StorageSettings, TrackingSettings
from headrace.tenancy.sigv4 import AccessKey
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import GrantedOn, Permission
from headrace.training.reconcile import TrainingReconciler
from headrace_common.manifest import sha256_of
from headrace_local import ports
from training_builders import SETTINGS

from .conftest import ADMIN, REGION
from .tenants import Platform

RUNTIMES = Path(__file__).resolve().parents[3] / "runtimes"
SECONDS = 300.0


@pytest.fixture(scope="module")
def platform(kubectl: Any, store_url: str, mlflow_url: str, system_namespace: str) -> Platform:
    return Platform(kubectl, store_url, mlflow_url)


@pytest.fixture
def tenant(platform: Platform) -> str:
    namespace = platform.new_namespace()
    assert platform.headrace("tenant", "add", namespace) == 0
    return namespace


def save_onnx(folder: Path, weights_beside: bool = False) -> Path:
    """y = x w, made by nobody of ours."""
    weights = numpy_helper.from_array(np.full((100, 100), 0.5, "float32"), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 100]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "theirs.onnx"
    location = "theirs.onnx.data" if weights_beside else None
    onnx.save(helper.make_model(graph), path, save_as_external_data=weights_beside, location=location)
    return path


@dataclass
class Cluster:
    """The operator's passes, and a kubelet that runs the launcher as its pod would."""

    platform: Platform
    namespace: str
    folder: Path

    async def go_on(self, client: KubeClient, http: aiohttp.ClientSession) -> None:
        """Until it is cancelled."""
        url = self.platform.mlflow
        settings = replace(
            SETTINGS,
            operator_namespace=self.namespace,
            storage=StorageSettings(self.platform.store, REGION),
            tracking=TrackingSettings(url, url, *ADMIN),
        )
        operator = TrainingReconciler(client, http, settings, Ledger(MlflowClient(url, *ADMIN, http)))
        while True:
            for job in await client.list(TRAININGJOBS, self.namespace):
                with suppress(KubeError):
                    await operator.reconcile(Key(TRAININGJOBS, self.namespace, job["metadata"]["name"]))
            for pod in await client.list(PODS, self.namespace, "headrace.dev/trainingjob"):
                if pod["status"].get("phase") == "Pending":
                    await self.run(client, pod)
            await asyncio.sleep(0.2)

    async def run(self, client: KubeClient, pod: Object) -> None:
        [container] = [each for each in pod["spec"]["containers"] if each["name"] == "trainer"]
        config = json.loads(next(e["value"] for e in container["env"] if e["name"] == "HEADRACE_CONFIG"))
        secret = await asyncio.to_thread(self.platform.secret, self.namespace, "headrace-storage")
        place = self.folder / pod["metadata"]["name"]
        (place / "source").mkdir(parents=True)
        name = config["job"]["name"]
        found = await client.get(CONFIGMAPS, self.namespace, name)
        assert found is not None, f"no ConfigMap {name}"
        for file, text in found["data"].items():
            (place / "source" / file).write_text(text)
        config["source"]["path"] = str(place / "source")
        config["datasets"][0]["path"] = config["parameters"]["at"] = str(place / "data" / "model")
        [config["progressPort"]] = ports.free(1)
        (place / "work").mkdir()
        environment = {
            **os.environ,
            **secret,
            "PYTHONPATH": os.pathsep.join(str(RUNTIMES / each) for each in ("trainer", "client")),
            "HEADRACE_CONFIG": json.dumps(config),
            "HEADRACE_WORK_DIR": str(place / "work"),
            "HEADRACE_TERMINATION_LOG": str(place / "record"),
            "HEADRACE_BIND": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace_trainer"),
            env=environment,
            stdout=(place / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        code = await process.wait()
        end = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "message": (place / "record").read_text(),
            "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        state = {"name": "trainer", "image": "i", "imageID": "i@sha256:1", "ready": False, "restartCount": 0}
        status = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [{**state, "state": {"terminated": end}}],
        }
        await client.merge_patch(PODS, self.namespace, pod["metadata"]["name"], {"status": status}, "status")


@dataclass
class Added:
    code: int
    said: str
    errors: str


@pytest.fixture
def add(platform: Platform, tenant: str, tmp_path: Path) -> Callable[..., Added]:
    """`headrace model add`, while the cluster goes on."""

    def run(*arguments: str | Path) -> Added:
        command = [sys.executable, "-m", "headrace.cli.main", "model", "add", *map(str, arguments)]
        command += ["--namespace", tenant, "--s3-url", platform.store, "--timeout", str(SECONDS)]
        command += ["--kubeconfig", str(platform.kubectl.kubeconfig)]

        async def both() -> Added:
            async with KubeClient.session(platform.kubectl.kubeconfig) as client, aiohttp.ClientSession() as http:
                cluster = asyncio.create_task(Cluster(platform, tenant, tmp_path / "pods").go_on(client, http))
                process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                talk = asyncio.create_task(process.communicate())
                await asyncio.wait({cluster, talk}, return_when=asyncio.FIRST_COMPLETED, timeout=SECONDS)
                if not talk.done():
                    process.kill()
                said, errors = await talk
                cluster.cancel()
                with suppress(asyncio.CancelledError):
                    await cluster
                return Added(process.returncode or 0, said.decode(), errors.decode())

        return asyncio.run(both())

    return run


def logs(folder: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in (folder / "pods").glob("*/log"))


def versions(platform: Platform, model: str) -> list[Any]:
    async def ask() -> list[Any]:
        async with aiohttp.ClientSession() as http:
            client = MlflowClient(platform.mlflow, *ADMIN, http)
            answer = await client._call(
                "GET", "2.0/mlflow/model-versions/search", "versions", query={"filter": f"name='{model}'"}
            )
            return list(answer.get("model_versions", []))

    return asyncio.run(ask())


def test_a_model_with_its_weights_beside_it_is_registered_with_the_given_bytes(platform, tenant, add, tmp_path):
    path = save_onnx(tmp_path / "theirs", weights_beside=True)
    (path.parent / "README.md").write_text("not of the model")
    done = add(path.parent, "--name", "theirs", "--alias", "candidate")
    assert done.code == 0, f"{done}\n{logs(tmp_path)}"
    assert "left out: README.md" in done.said
    assert f"version 1 of {tenant}.theirs (sha256:" in done.said
    assert "model: {registry: {name: theirs, alias: candidate}}" in done.said
    assert "runtime: {name: onnxruntime}" in done.said

    [version] = versions(platform, f"{tenant}.theirs")
    storage = platform.secret(tenant, "headrace-storage")
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    prefix = version["source"].removeprefix(f"s3://{tenant}/")
    for name, file in (("model.onnx", path), ("theirs.onnx.data", path.with_name("theirs.onnx.data"))):
        assert s3.get_object(Bucket=tenant, Key=f"{prefix}/onnx/{name}")["Body"].read() == file.read_bytes()
    # What was sent for it is gone: the version has its own copy.
    assert "Contents" not in s3.list_objects_v2(Bucket=tenant, Prefix="headrace/added/")
    [job] = json.loads(platform.kubectl("get", "trainingjobs", "--namespace", tenant, "--output=json"))["items"]
    program = platform.kubectl.get("configmap", job["metadata"]["name"], tenant)
    assert program["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]

    again = add(path.parent, "--name", "theirs", "--alias", "candidate")
    assert again.code == 0, again
    assert "was asked for before" in again.said
    assert len(versions(platform, f"{tenant}.theirs")) == 1


def test_a_model_in_the_bucket_is_read_by_the_pod_and_a_broken_one_fails_with_what_is_wrong(
    platform, tenant, add, tmp_path
):
    storage = platform.secret(tenant, "headrace-storage")
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    whole = save_onnx(tmp_path / "theirs").read_bytes()
    s3.put_object(Bucket=tenant, Key="given/theirs.onnx", Body=whole)
    s3.put_object(Bucket=tenant, Key="given/broken.onnx", Body=whole[:100])
    done = add(f"s3://{tenant}/given/theirs.onnx", "--name", "theirs")
    assert done.code == 0, f"{done}\n{logs(tmp_path)}"
    [version] = versions(platform, f"{tenant}.theirs")
    prefix = version["source"].removeprefix(f"s3://{tenant}/")
    assert s3.get_object(Bucket=tenant, Key=f"{prefix}/onnx/model.onnx")["Body"].read() == whole

    broken = add(f"s3://{tenant}/given/broken.onnx", "--name", "broken")
    assert broken.code == 1
    assert "onnx/model.onnx is no ONNX model" in broken.errors
    assert "Traceback" not in broken.errors
    assert not versions(platform, f"{tenant}.broken")


def test_a_saved_model_is_registered_with_all_of_its_folder(platform, tenant, add, tmp_path):
    folder = tmp_path / "saved"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "words.txt").write_text("a b c")
    signature = b"\x0a\x0fserving_default"
    meta = b"\x2a" + bytes([len(signature)]) + signature
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(meta)]) + meta)
    done = add(folder, "--name", "saved")
    assert done.code == 0, f"{done}\n{logs(tmp_path)}"
    assert "runtime: {name: tensorflow-serving}" in done.said
    [version] = versions(platform, f"{tenant}.saved")
    storage = platform.secret(tenant, "headrace-storage")
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    prefix = version["source"].removeprefix(f"s3://{tenant}/")
    listed = s3.list_objects_v2(Bucket=tenant, Prefix=f"{prefix}/tensorflow/")["Contents"]
    names = {each["Key"].removeprefix(f"{prefix}/tensorflow/") for each in listed}
    assert names == {"saved_model.pb", "assets/words.txt"}
    for name in names:
        assert (
            s3.get_object(Bucket=tenant, Key=f"{prefix}/tensorflow/{name}")["Body"].read()
            == (folder / name).read_bytes()
        )


def register(platform: Platform, tenant: str, folder: Path) -> str:
    """A model of MLflow's own making, in the tenant's bucket, as its administrator has registered it; its name."""
    storage = platform.secret(tenant, "headrace-storage")
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    for path in filter(Path.is_file, folder.rglob("*")):
        s3.put_object(Bucket=tenant, Key=f"logged/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    user = platform.kubectl.get("configmap", "headrace-tenant", tenant)["data"]["mlflowUser"]
    name = f"logged-{tenant}"

    async def act() -> None:
        async with aiohttp.ClientSession() as http:
            client = MlflowClient(platform.mlflow, *ADMIN, http)
            await client.create_registered_model(name, {})
            await client.create_model_version(name, f"s3://{tenant}/logged", "", {})
            await client.set_alias(name, "champion", "1")
            await client.grant(user, GrantedOn.REGISTERED_MODEL, name, Permission.READ)

    asyncio.run(act())
    return name


def test_a_version_of_mlflow_is_read_by_the_pod_and_has_a_signature(platform, tenant, add, tmp_path):
    path, logged = save_onnx(tmp_path / "theirs"), tmp_path / "logged"
    mlflow.onnx.save_model(onnx.load(path), logged, pip_requirements=["onnx"], save_as_external_data=False)
    name = register(platform, tenant, logged)
    done = add(f"models:/{name}@champion", "--name", "theirs", "--mlflow-url", platform.mlflow)
    assert done.code == 0, f"{done}\n{logs(tmp_path)}"
    assert f"models:/{name}/1: ONNX at s3://{tenant}/logged/model.onnx" in done.said
    assert "runtime: {name: onnxruntime}" in done.said
    [version] = versions(platform, f"{tenant}.theirs")
    prefix = version["source"].removeprefix(f"s3://{tenant}/")
    storage = platform.secret(tenant, "headrace-storage")
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    made = s3.get_object(Bucket=tenant, Key=f"{prefix}/onnx/model.onnx")["Body"].read()
    assert made == (logged / "model.onnx").read_bytes()
    # By which a later version is compared with it.
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["headrace.signature"] == '{"inputs":{"x":"FP32 [-1,100]"},"outputs":{"y":"FP32 [-1,100]"}}'


def test_a_version_that_the_tenant_may_not_read_and_one_of_another_flavor_are_told_and_ask_for_nothing(
    platform, tenant, add, tmp_path
):
    logged = tmp_path / "logged"
    logged.mkdir()
    (logged / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    name = register(platform, tenant, logged)
    refused = add(f"models:/{name}/1", "--name", "theirs", "--mlflow-url", platform.mlflow)
    assert refused.code == 1
    assert "its flavors are 'sklearn'" in refused.errors
    other = platform.new_namespace()
    assert platform.headrace("tenant", "add", other) == 0
    forbidden = add(f"models:/{register(platform, other, logged)}/1", "--name", "b", "--mlflow-url", platform.mlflow)
    assert forbidden.code == 1
    assert "the Secret's MLflow user has to be one that may read the model" in forbidden.errors
    assert "Traceback" not in refused.errors + forbidden.errors
    assert json.loads(platform.kubectl("get", "trainingjobs", "--namespace", tenant, "--output=json"))["items"] == []


def test_a_large_file_goes_in_parts(platform, tenant, tmp_path):
    storage = platform.secret(tenant, "headrace-storage")
    path, key = tmp_path / "large", "headrace/added/x/a # b?ä.bin"
    path.write_bytes(os.urandom(11 << 20))

    async def send() -> dict[str, There]:
        async with aiohttp.ClientSession() as session:
            access = AccessKey(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
            bucket = Bucket(platform.store, REGION, tenant, access, session, part_bytes=5 << 20)
            await bucket.upload(path, key, sha256_of(path), lambda count: None)
            return await bucket.objects("headrace/added/x/")

    # Of parts, too, the store tells the sum by which the same command finds what it has sent.
    assert asyncio.run(send()) == {key: There(path.stat().st_size, etag_of(path, 5 << 20))}
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    assert s3.get_object(Bucket=tenant, Key=key)["Body"].read() == path.read_bytes()
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=tenant)


class Held(Bucket):
    """Never gets further than its first part."""

    async def _etag(self, key: str, query: Mapping[str, str], body: bytes) -> str:
        raise asyncio.CancelledError


def test_of_a_large_file_that_is_interrupted_nothing_stays(platform, tenant, tmp_path):
    storage = platform.secret(tenant, "headrace-storage")
    path = tmp_path / "large"
    path.write_bytes(os.urandom(11 << 20))

    async def send() -> dict[str, There]:
        async with aiohttp.ClientSession() as session:
            access = AccessKey(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
            bucket = Held(platform.store, REGION, tenant, access, session, part_bytes=5 << 20)
            with pytest.raises(asyncio.CancelledError):
                await bucket.upload(path, "headrace/added/x/large", sha256_of(path), lambda count: None)
            return await bucket.objects("headrace/added/x/")

    assert asyncio.run(send()) == {}
    s3 = platform.s3(storage["AWS_ACCESS_KEY_ID"], storage["AWS_SECRET_ACCESS_KEY"])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=tenant)
