"""The platform as a user has it: the chart on a real cluster, a tenant's namespace, and what a user does in it."""

from __future__ import annotations

import base64
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from headrace_local.instance import Instance
from kube_requests import Api

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEM = "headrace-system"
VALUES = {
    "image.registry": "headrace.local",
    "image.tag": "dev",
    "mlflow.persistence.size": "1Gi",
    "s3.persistence.size": "5Gi",
}
SERVERS = ("onnxruntime", "text", "explainer", "tensorflow-serving")
IMAGES = ("operator", "trainer", "loader", *SERVERS, "mlflow", "s3", "gateway")
TRAINING_PATIENCE = 240.0
POLLED = {"trainingjob", "modelservice"}

Object = dict[str, Any]
_api_of = functools.cache(Api.of)


@dataclass(frozen=True)
class Platform:
    """The installed chart; `gateway`, `mlflow` and `s3` are loopback URLs."""

    cluster: Instance
    gateway: str
    mlflow: str
    s3: str

    def tenant(self, namespace: str) -> Tenant:
        """A namespace with its bucket, users and Secrets."""
        self.cluster.kubectl("create", "namespace", namespace)
        run(
            "headrace", "tenant", "add", namespace, "--kubeconfig", str(self.cluster.kubeconfig),
            "--s3-url", self.s3, "--mlflow-url", self.mlflow,
        )  # fmt: skip
        return Tenant(self, namespace)


@dataclass(frozen=True)
class Tenant:
    """What an ML engineer does with kubectl in a namespace. What tests do often goes straight to the API server: a call
    of kubectl's is 0.2 s of computing.
    """

    platform: Platform
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.platform.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        for manifest in objects:
            self._api.apply(self.namespace, manifest)

    @property
    def _api(self) -> Api:
        return _api_of(self.platform.cluster.kubeconfig)

    def script(self, name: str, text: str) -> None:
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": text}})

    def train(self, job_name: str, **spec: Any) -> None:
        """Apply a TrainingJob; unless the spec says otherwise its script is the ConfigMap of the same name."""
        defaults = {"source": {"configMap": {"name": job_name}}, "entrypoint": "train.py"}
        self.apply(
            {
                "apiVersion": "headrace.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": job_name},
                "spec": defaults | spec,
            }
        )

    def serve(self, name: str, model: Object, **spec: Any) -> None:
        """Apply a ModelService."""
        self.apply(model_service(name, model, **spec))

    def get(self, kind: str, name: str) -> Object:
        if kind in POLLED:
            path = f"/apis/headrace.dev/v1alpha1/namespaces/{self.namespace}/{kind}s/{name}"
            return self._api.get(path)
        found: Object = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def status(self, kind: str, name: str) -> Object:
        return self.get(kind, name).get("status") or {}

    def wait(self, kind: str, name: str, until: Callable[[Object], bool], seconds: float = TRAINING_PATIENCE) -> Object:
        """The status, once it is as asked; what it was at the deadline fails the test."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(kind, name)
            if until(status):
                return status
            assert time.monotonic() < deadline, f"{kind} {name} after {seconds:.0f} s: {json.dumps(status, indent=1)}"
            time.sleep(1)

    def finished(self, job_name: str, seconds: float = TRAINING_PATIENCE) -> Object:
        return self.wait("trainingjob", job_name, lambda s: s.get("state") in ("Succeeded", "Failed"), seconds)

    def look(self, kind: str, name: str, until: Callable[[Object], bool], seconds: float) -> Object:
        """The status, once it is as asked, else what it was at the deadline: for tests that judge it later."""
        deadline = time.monotonic() + seconds
        while not until(status := self.status(kind, name)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return status

    def secret(self, name: str) -> dict[str, str]:
        data = json.loads(self.kubectl("get", "secret", name, "--output=json"))["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def s3(self) -> Any:
        """A client with the key that may write to the namespace's bucket, which is called as the namespace."""
        secret = self.secret("headrace-storage")
        return boto3.client(
            "s3",
            endpoint_url=self.platform.s3,
            region_name="us-east-1",
            aws_access_key_id=secret["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret["AWS_SECRET_ACCESS_KEY"],
        )

    def mlflow(self, path: str) -> Object:
        """What MLflow's REST API answers the namespace's user; `path` with its query, such as runs/get?run_id=1."""
        secret = self.secret("headrace-storage")
        login = f"{secret['MLFLOW_TRACKING_USERNAME']}:{secret['MLFLOW_TRACKING_PASSWORD']}"
        status, answer = ask(f"{self.platform.mlflow}/api/2.0/mlflow/{path}", login=login)
        assert status == 200, answer
        return answer


def candidate(model: str) -> Object:
    """What a ModelService of this model follows: its alias `candidate`."""
    return {"registry": {"name": model, "alias": "candidate"}}


def model_service(name: str, model: Object, **spec: Any) -> Object:
    """A ModelService; unless the spec says otherwise ONNX Runtime behind the chart's gateway."""
    defaults = {
        "model": model,
        "storage": {"secretRef": {"name": "headrace-storage-read"}},
        "runtime": {"name": "onnxruntime"},
        "route": {"parentRefs": [{"name": "headrace", "namespace": SYSTEM}]},
    }
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": defaults | spec,
    }


def is_served(status: Object) -> bool:
    """Whether a ModelService's requests reach one revision through the gateway."""
    return status.get("phase") == "Stable" and is_true(status, "RouteAccepted")


def condition(status: Object, kind: str) -> Object:
    """The condition of this type; empty while there is none."""
    return next((found for found in status.get("conditions", ()) if found["type"] == kind), {})


def ask(url: str, body: Object | None = None, *, login: str = "") -> tuple[int, Object]:
    """GET, or POST of a body: the answer's status and JSON (empty where it is none). `login` is `user:password`."""
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=10) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        found: Object = json.loads(text)
    except ValueError:
        found = {}
    return status, found


def first_answer(url: str, body: Object, seconds: float = 15) -> Object:
    """The first good answer: a service that has just got its route is not known to the gateway yet."""
    deadline = time.monotonic() + seconds
    while (said := ask(url, body))[0] != 200:
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    return said[1]


def prediction_of(tenant: Tenant, job: str) -> list[float]:
    """What the job's script printed after PREDICTION: Keras' own answer."""
    pod = tenant.kubectl("get", "pods", "-l", f"headrace.dev/trainingjob={job}", "-o", "name").split()[0]
    line = next(line for line in tenant.kubectl("logs", pod).splitlines() if line.startswith("PREDICTION"))
    found: list[float] = json.loads(line.removeprefix("PREDICTION"))
    return found


def is_true(status: Object, condition: str) -> bool:
    """Whether the status has this condition, and it is True."""
    return any(c["type"] == condition and c["status"] == "True" for c in status.get("conditions", []))


def kill_in(pod: Object, what: str) -> None:
    """SIGKILL from the node to the process of a pod whose command line has `what`: also to its PID 1."""
    uid = pod["metadata"]["uid"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = uid in (process / "cgroup").read_text()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if inside and what.encode() in command:
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError(f"no process {what} in pod {pod['metadata']['name']}")


def install(cluster: Instance) -> None:
    """Build the images, and install the chart with the values of a trial."""
    cluster.build_project(IMAGES)
    already_there = ("-n", SYSTEM, "get", "deployments", "-l", "app.kubernetes.io/instance=headrace", "-o", "name")
    old = cluster.kubectl(*already_there).split()
    upgrade(cluster)
    if old:  # the images have the same tag as before: a kept cluster would go on with the old ones
        cluster.kubectl("-n", SYSTEM, "rollout", "restart", *old)
        for name in old:
            cluster.kubectl("-n", SYSTEM, "rollout", "status", name, "--timeout=180s")


def attach(cluster: Instance) -> Platform:
    """The chart that is installed; opens loopback ports to its Services."""

    def url(service: str, port: int) -> str:
        return f"http://127.0.0.1:{cluster.forward(service, port, namespace=SYSTEM)}"

    return Platform(cluster, url("headrace-gateway", 80), url("headrace-mlflow", 5000), url("headrace-s3", 7070))


def upgrade(cluster: Instance, **values: str) -> None:
    """`helm upgrade --install --wait` with the values of a trial and these."""
    settings = [part for key, value in (VALUES | values).items() for part in ("--set", f"{key}={value}")]
    chart = str(REPOSITORY / "charts" / "headrace")
    servers = ("--values", str(REPOSITORY / "tests" / "e2e" / "own_server.yaml"))
    how = ("--create-namespace", "--wait", "--timeout", "5m")
    helm(cluster, "upgrade", "--install", "headrace", chart, *how, *servers, *settings)


def helm(cluster: Instance, *arguments: str) -> str:
    """helm, on the release's cluster and namespace."""
    where = ("--kubeconfig", str(cluster.kubeconfig), "--namespace", SYSTEM)
    return run(str(Path(sys.executable).parent / "helm"), *arguments, *where, seconds=400)


def run(*command: str, seconds: float = 120) -> str:
    """A command of a user's; its output is in the message when it fails."""
    if command[0] == "headrace":
        command = (sys.executable, "-m", "headrace.cli.main", *command[1:])
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
