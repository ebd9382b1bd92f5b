"""Real parts for the trainer's tests: processes on loopback only, each in a group of its own."""

import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from forking import Forked
from gate import Gate

TRAINER = Path(__file__).parent.parent
CLIENT = TRAINER.parent / "client"
ACCESS_KEY, SECRET_KEY = "root-access", "root-secret"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(is_so: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true result of `is_so`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if result := is_so():
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a server says 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


class Server:
    """A server process in a process group of its own, which can be taken away and brought back."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path, is_up: Callable[[], bool]) -> None:
        self._command, self._env, self._log, self._is_up = command, env, log, is_up
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def await_up(self) -> None:
        wait_until(lambda: self._has_ended() or self._is_up(), 240, f"{self._command} answers; its log is {self._log}")
        assert not self._has_ended(), self._log.read_text()[-3000:]

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def freeze(self) -> None:
        """Take connections and answer none."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer, also what has been asked meanwhile."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Mlflow(Server):
    """MLflow's tracking server on SQLite: the process that `mlflow server` starts, without its parent, which takes as
    long to start.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["mlflow.server.fastapi_app:app"]
        env = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
            "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{folder}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "s3://unused/mlflow",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        super().__init__(command, env, folder / "mlflow.log", lambda: answers(f"{self.url}/health"))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # the first one makes tables
            return json.loads(response.read())

    @property
    def log(self) -> Path:
        return self._log

    def experiment(self, name: str, artifacts: str) -> dict[str, str]:
        """A new experiment, as HEADRACE_CONFIG's `tracking` names it."""
        body = {"name": f"{name}-{time.time_ns()}", "artifact_location": artifacts}
        made = self.call("POST", "experiments/create", body)
        return {"url": self.url, "experiment": body["name"], "experimentId": made["experiment_id"]}

    def runs(self, experiment_id: str) -> list[dict[str, Any]]:
        return self.call("POST", "runs/search", {"experiment_ids": [experiment_id]}).get("runs", [])

    def history(self, run_id: str, key: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"run_id": run_id, "metric_key": key, "max_results": 20000})
        return self.call("GET", f"metrics/get-history?{query}").get("metrics", [])


class S3(Server):
    """versitygw on a folder."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        data = folder / "s3"
        data.mkdir()
        command = [binary, "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--port", f"127.0.0.1:{self.port}"]
        command += ["--iam-dir", str(folder / "iam"), "--quiet", "posix", str(data)]
        (folder / "iam").mkdir()
        super().__init__(command, dict(os.environ), folder / "s3.log", self._answers)
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def _answers(self) -> bool:
        with socket.socket() as sock:
            sock.settimeout(1)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def bucket(self) -> str:
        name = f"b{time.time_ns()}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def delete(self, bucket: str, key: str) -> None:
        self.client.delete_object(Bucket=bucket, Key=key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]


class MlflowGate(Gate):
    """Its address is for the launcher; a test goes on asking the server itself."""

    def __init__(self, server: Mlflow) -> None:
        self._server = server
        super().__init__(int(server.url.rpartition(":")[2]))

    def experiment(self, name: str, artifacts: str) -> dict[str, str]:
        """As the server's, by this address."""
        return {**self._server.experiment(name, artifacts), "url": f"http://127.0.0.1:{self.port}"}


@functools.cache
def mlflow_in(folder: Path) -> Mlflow:
    """The one of a process, whichever folder of tests asks first: a start takes four seconds of computing."""
    (own := folder / "mlflow").mkdir(exist_ok=True)
    server = Mlflow(own)
    server.start()
    try:
        server.await_up()
    except BaseException:
        server.stop()
        raise
    return server


class Launched:
    """A launcher's process, and what can be read from outside."""

    def __init__(
        self, process: Forked | subprocess.Popen[bytes], port: int, work: Path, termination_log: Path, host: str
    ) -> None:
        self.process, self.port, self.work, self._termination_log, self._host = (
            process,
            port,
            work,
            termination_log,
            host,
        )

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self._termination_log.read_bytes())

    @property
    def progress(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self.port, timeout=5)
        try:
            connection.request("GET", "/progress")
            return json.loads(connection.getresponse().read())
        except OSError:
            return {}
        finally:
            connection.close()

    @property
    def log(self) -> str:
        return (self.work.parent / "log").read_text()

    def wait(self, seconds: float = 60) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the launcher did not end within {seconds} s:\n{self.log}")
