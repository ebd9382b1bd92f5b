"""What checkpoints, tracking and progress cost a training: the text generator trained by the launcher and by plain
Python, in pairs.

    python bench/checkpoint.py [--pairs=5] [--epochs=10] [--seconds=40] [--only=time|size] [--json]

A pair is two runs of examples/text-generator/train.py right after each other, in changing order: one by plain Python,
one by `python -m headrace_trainer` as in a pod, with checkpoints (at least five) uploaded to a real S3 store, its run
in a real MLflow, and /progress asked every 5 s as the operator does. Compared is the time inside of `fit`; the CPU
time of the second is that of `fit` and of the launcher together. The result is the median over the pairs. MLflow and
the store run on the same cores here, which slows `fit` down beside what is measured. The default of --epochs is the
example's own.

Then, without MLflow, what a checkpoint of 1 GB costs: see big_state.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import big_state
import boto3

from headrace_local import platform, ports

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "text-generator"
CHECKPOINTS = 5
LIMIT_SECONDS = 1800
PROGRESS_SECONDS = 5.0
BUCKET = "bench"

# Runs the example's script with a clock around `fit`, outside of whatever is around it already.
TIMED = """
import os, runpy, sys, time
import keras
plain_fit = keras.Model.fit
def fit(*args, **kwargs):
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        return plain_fit(*args, **kwargs)
    finally:
        with open(os.environ["BENCH_RESULT"], "w") as file:
            file.write(f"{time.perf_counter() - wall} {time.process_time() - cpu}")
keras.Model.fit = fit
sys.argv[0] = os.environ["BENCH_SCRIPT"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Timing:
    """One run: seconds inside of `fit`, and of CPU; how many checkpoints were kept and how many values logged."""

    wall: float
    cpu: float
    checkpoints: int = 0
    values: int = 0


@dataclass(frozen=True)
class Servers:
    """What a training pod reaches: MLflow with an experiment, and a store with a bucket."""

    mlflow: str
    experiment: str
    store: str

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to MLflow's REST API as its administrator."""
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, self.mlflow, *platform.ADMIN, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        url, headers = f"{self.mlflow}/api/2.0/mlflow/{path}", {"Content-Type": "application/json"}
        with opener.open(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


@dataclass(frozen=True)
class Bench:
    directory: Path
    epochs: int
    servers: Servers

    def plain(self) -> Timing:
        """Trains by plain Python."""
        output = self.directory / "plain.log"
        arguments = [f"--data={self._corpus}", f"--epochs={self.epochs}"]
        command = [sys.executable, str(self.directory / "timed.py"), *arguments]
        _finish(_start(command, self._environment(), output), output)
        return Timing(*self._seconds())

    def launched(self, number: int, checkpoint_seconds: float) -> Timing:
        """Trains by the launcher; `number` makes it a job of its own."""
        port, uid = ports.free(1)[0], f"uid-{number}"
        config = {
            "protocol": 1,
            "job": {"namespace": "bench", "name": f"job-{number}", "uid": uid, "attempt": 1},
            "workers": {"count": 1},
            "source": {"path": str(self.directory), "entrypoint": "timed.py"},
            "parameters": {"data": str(self._corpus), "epochs": self.epochs},
            "datasets": [],
            "storage": {"endpoint": self.servers.store, "region": platform.REGION},
            "tracking": {
                "url": self.servers.mlflow,
                "experiment": "bench",
                "experimentId": self.servers.experiment,
            },
            "checkpoint": {"uri": f"s3://{BUCKET}/jobs/{uid}", "intervalSeconds": checkpoint_seconds, "keep": 100},
            "progressPort": port,
        }
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            environment = self._environment() | _pod(config, work)
            output = self.directory / "launched.log"
            process = _start([sys.executable, "-m", "headrace_trainer"], environment, output)
            launcher = _watch(process, port)
            _finish(process, output)
        wall, cpu = self._seconds()
        return Timing(wall, cpu + launcher, self._checkpoints(uid), self._values(uid))

    @property
    def _corpus(self) -> Path:
        return self.directory / "corpus.npz"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BENCH_RESULT": str(self.directory / "seconds"),
            "BENCH_SCRIPT": str(EXAMPLE / "train.py"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONHASHSEED": "0",
        }

    def _seconds(self) -> tuple[float, float]:
        wall, cpu = map(float, (self.directory / "seconds").read_text().split())
        return wall, cpu

    def _checkpoints(self, uid: str) -> int:
        return sum(key.endswith("/manifest.json") for key in _keys(self.servers.store, f"jobs/{uid}/"))

    def _values(self, uid: str) -> int:
        """Values that the job's run has: a step for each, as nothing is logged twice."""
        (run,) = self.servers.call(
            "runs/search",
            {"experiment_ids": [self.servers.experiment], "filter": f"tags.\"headrace.uid\" = '{uid}'"},
        )["runs"]
        if run["info"]["status"] != "FINISHED":
            raise SystemExit(f"the run of {uid} is {run['info']['status']}")
        return len(run["data"]["metrics"])


def _s3(url: str) -> Any:
    key, secret = platform.ROOT
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=platform.REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def _keys(store: str, prefix: str) -> list[str]:
    found = _s3(store).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", [])]


def _pod(config: dict[str, Any], work: str) -> dict[str, str]:
    """The environment of a training pod whose working directory is `work`."""
    return {
        "PYTHONPATH": str(ROOT / "runtimes" / "trainer"),
        "HEADRACE_CONFIG": json.dumps(config),
        "HEADRACE_WORK_DIR": work,
        "HEADRACE_TERMINATION_LOG": f"{work}/termination-log",
        "HEADRACE_BIND": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": platform.ROOT[0],
        "AWS_SECRET_ACCESS_KEY": platform.ROOT[1],
        "MLFLOW_TRACKING_USERNAME": platform.ADMIN[0],
        "MLFLOW_TRACKING_PASSWORD": platform.ADMIN[1],
    }


def _start(command: list[str], environment: dict[str, str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _watch(process: subprocess.Popen[bytes], port: int) -> float:
    """Ask /progress as the operator does, until the launcher ends; its own seconds of CPU from when training began."""
    before, cpu, asked = None, 0.0, 0.0
    while process.poll() is None:
        cpu = _cpu_seconds(process.pid, cpu)
        if time.monotonic() >= asked + (PROGRESS_SECONDS if before is not None else 0.2):
            asked = time.monotonic()
            if before is None and _state(port) == "Training":
                before = cpu
            elif before is not None:
                _state(port)
        time.sleep(0.1)
    return cpu - (before or 0.0)


def _state(port: int) -> str:
    """Empty while the launcher does not listen yet, and when it does not any more."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
            return str(json.loads(answer.read())["state"])
    except OSError:
        return ""


def _cpu_seconds(pid: int, last: float) -> float:
    """User and system time of this one process, as proc(5) has it; what it was last once the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return last
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else last


def _finish(process: subprocess.Popen[bytes], output: Path) -> None:
    try:
        code = process.wait(LIMIT_SECONDS)
    finally:
        process.kill()
    if code != 0:
        raise SystemExit(f"the training ended with code {code}:\n{output.read_text(errors='replace')[-2000:]}")


def compare(bench: Bench, pairs: int) -> dict[str, Any]:
    """The result, as it is printed."""
    # Not counted: it fills caches, and tells how often to save.
    interval = bench.plain().wall / (CHECKPOINTS + 2)
    wall, cpu = [], []
    for pair in range(pairs):
        if pair % 2:
            plain, launched = bench.plain(), bench.launched(pair, interval)
        else:
            launched, plain = bench.launched(pair, interval), bench.plain()
        wall.append(launched.wall / plain.wall - 1)
        cpu.append(launched.cpu / plain.cpu - 1)
        print(
            f"pair {pair + 1}: plain {plain.wall:.2f} s ({plain.cpu:.2f} s CPU), launched {launched.wall:.2f} s "
            f"({launched.cpu:.2f} s CPU), {launched.checkpoints} checkpoints, {launched.values} metrics",
            flush=True,
        )
        if launched.checkpoints < CHECKPOINTS:
            raise SystemExit(f"{launched.checkpoints} checkpoints are too few to compare: train for more --epochs")
    return {
        "overhead_fraction": round(statistics.median(wall), 4),
        "overhead_fraction_of_pairs": [round(value, 4) for value in wall],
        "cpu_overhead_fraction": round(statistics.median(cpu), 4),
        "cpu_overhead_fraction_of_pairs": [round(value, 4) for value in cpu],
        "checkpoints": launched.checkpoints,
        "pairs": pairs,
        "epochs": bench.epochs,
    }


@dataclass(frozen=True)
class BigBench:
    """The launcher with a large model and a store, without MLflow."""

    directory: Path
    store: str
    seconds: float

    def run(self, case: big_state.Case, with_launcher: bool) -> big_state.Run:
        parameters = {**case.parameters, "seconds": self.seconds}
        result, output = self.directory / "result", self.directory / "big.log"
        environment = {**os.environ, "BENCH_RESULT": str(result), "TF_CPP_MIN_LOG_LEVEL": "3"}
        prefix = f"jobs/{case.name}"
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            arguments = [f"--{name}={value}" for name, value in parameters.items()]
            command = [sys.executable, str(self.directory / "big.py"), *arguments]
            if with_launcher:
                command = [sys.executable, "-m", "headrace_trainer"]
                environment |= _pod(self._config(prefix, parameters), work)
            process = _start(command, environment, output)
            with big_state.Memory(process) as memory:
                _finish(process, output)
        manifests = [key for key in _keys(self.store, prefix) if key.endswith("/manifest.json")]
        for key in _keys(self.store, prefix):
            _s3(self.store).delete_object(Bucket=BUCKET, Key=key)
        return big_state.read(result, memory.peak, len(manifests))

    def _config(self, prefix: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            "protocol": 1,
            "job": {"namespace": "bench", "name": "big", "uid": "uid-big", "attempt": 1},
            "workers": {"count": 1},
            "source": {"path": str(self.directory), "entrypoint": "big.py"},
            "parameters": parameters,
            "datasets": [],
            "storage": {"endpoint": self.store, "region": platform.REGION},
            "checkpoint": {"uri": f"s3://{BUCKET}/{prefix}", "intervalSeconds": self.seconds / 4, "keep": 1},
            "progressPort": ports.free(1)[0],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=40.0, help="how long each run of a large model trains")
    parser.add_argument("--only", choices=["time", "size"], help="the comparison of time, or the large models, alone")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.only != "time":
            result |= measure_sizes(directory, arguments.seconds)
        if arguments.only != "size":
            result |= measure_time(directory, arguments.pairs, arguments.epochs)
    print(json.dumps(result) if arguments.json else result)


def measure_sizes(directory: Path, seconds: float) -> dict[str, Any]:
    """What checkpoints of large models cost."""
    (directory / "big.py").write_text(big_state.SCRIPT)
    (directory / "store").mkdir()
    with platform.store(directory / "store", ports.free(1)[0]) as store:
        _s3(store).create_bucket(Bucket=BUCKET)
        bench = BigBench(directory, store, seconds)
        cases = {}
        for case in big_state.CASES:
            cases[case.name] = big_state.compare(case, bench.run)
            print(f"{case.name}: {cases[case.name]}", flush=True)
    shutil.rmtree(directory / "store")
    return {
        "blocked_seconds_1gb": max(max(case["blocked_seconds"]) for case in cases.values()),
        "memory_ratio_1gb": max(case["memory_ratio"] for case in cases.values()),
        "cases": cases,
    }


def measure_time(directory: Path, pairs: int, epochs: int) -> dict[str, Any]:
    """What all of it costs an ordinary training."""
    (directory / "timed.py").write_text(TIMED)
    prepare = [sys.executable, str(EXAMPLE / "prepare.py"), f"--output={directory / 'corpus.npz'}"]
    subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    for folder in ("store", "mlflow"):
        (directory / folder).mkdir()
    store_port, mlflow_port = ports.free(2)
    with (
        platform.store(directory / "store", store_port) as store,
        platform.mlflow(directory / "mlflow", mlflow_port, store),
    ):
        _s3(store).create_bucket(Bucket=BUCKET)
        url = f"http://127.0.0.1:{mlflow_port}"
        location = {"name": "bench", "artifact_location": f"s3://{BUCKET}/mlflow"}
        made = Servers(url, "", store).call("experiments/create", location)
        return compare(Bench(directory, epochs, Servers(url, made["experiment_id"], store)), pairs)


if __name__ == "__main__":
    main()
