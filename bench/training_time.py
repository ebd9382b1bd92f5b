"""What checkpoints, tracking and progress cost an ordinary training: the text generator trained by plain Python and by
the launcher, the two taking turns on the same core (turns.py).

It is one core, which the launcher shares with its script: what the launcher does is in the time by the clock, and not
hidden in what the training leaves idle.

One run of a pair is plain Python; the other is `python -m headrace_trainer` as in a pod, with checkpoints uploaded to
a real S3 store, its run in a real MLflow, and /progress asked at each turn; MLflow and the store have the other cores.
Compared is the time inside of `fit` that was a run's own turn; the CPU time of the second is that of `fit` and of the
launcher together. A checkpoint is taken every 20 s of a run's own
time, and not every 5 minutes (the default), so that a run of a minute has some.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pod
import turns

from headrace_local import platform, ports

EXAMPLE = pod.ROOT / "examples" / "text-generator"
CHECKPOINTS = 3
TURN_SECONDS = 2.0
CORE = min(os.sched_getaffinity(0))  # of both trainings

# Runs the example's script with clocks around `fit`, outside of whatever is around it already. The pipeline is not
# tuned while it runs: TensorFlow's tuner sleeps, and where it does so at the end of an epoch, either side waits for it
# by chance, for seconds (bench/results/checkpoint.md).
TIMED = """
import json, os, runpy, sys, time
import keras
import tensorflow as tf
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
plain_dataset = ArrayDataAdapter.get_tf_dataset
def get_tf_dataset(self):
    options = tf.data.Options()
    options.autotune.enabled = False
    return plain_dataset(self).with_options(options)
ArrayDataAdapter.get_tf_dataset = get_tf_dataset
plain_fit = keras.Model.fit
def fit(*args, **kwargs):
    begin, cpu = time.monotonic(), time.process_time()
    with open(os.environ["BENCH_RESULT"] + ".part", "w") as file:
        file.write(str(begin))
    os.rename(file.name, os.environ["BENCH_RESULT"] + ".begun")
    try:
        return plain_fit(*args, **kwargs)
    finally:
        with open(os.environ["BENCH_RESULT"], "w") as file:
            json.dump({"begin": begin, "end": time.monotonic(), "cpu": time.process_time() - cpu}, file)
keras.Model.fit = fit
sys.argv[0] = os.environ["BENCH_SCRIPT"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _leave_core() -> None:
    """This process and the servers that it starts take the others; where there is one core alone they share it."""
    if others := os.sched_getaffinity(0) - {CORE}:
        os.sched_setaffinity(0, others)


@dataclass(frozen=True)
class Timing:
    """One run: seconds of its own turns inside of `fit`, and of CPU; `launcher` is the part of it that is not the
    script's process.
    """

    wall: float
    cpu: float
    launcher: float


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


@dataclass
class Training:
    """A run, started; `port` is where its launcher tells of its progress."""

    runner: turns.Runner
    output: Path
    result: Path
    launcher_cpu: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, directory: Path, name: str, command: list[str], variables: dict[str, str]) -> Training:
        output, result = directory / f"{name}.log", directory / f"{name}.json"
        mark = result.with_name(result.name + ".begun")
        for left in (result, mark):
            left.unlink(missing_ok=True)
        process = pod.start(command, variables | {"BENCH_RESULT": str(result)}, output, cores={CORE})
        return cls(turns.Runner(process, mark), output, result)

    def ask_each_turn(self, port: int) -> None:
        """Asks /progress as the operator does, and reads what CPU time the launcher has taken since `fit` began."""

        def ask() -> None:
            last = self.launcher_cpu[-1] if self.launcher_cpu else 0.0
            if not self.result.exists():
                self.launcher_cpu.append(pod.cpu_seconds(self.runner.process.pid, last))
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with contextlib.suppress(OSError):  # it ends
                opener.open(f"http://127.0.0.1:{port}/progress", timeout=TURN_SECONDS).read()

        self.runner.each_turn = ask

    def timing(self) -> Timing:
        """What it took; after its end."""
        pod.finish(self.runner.process, self.output)
        told = json.loads(self.result.read_text())
        launcher = self.launcher_cpu[-1] - self.launcher_cpu[0] if self.launcher_cpu else 0.0
        return Timing(self.runner.seconds_within(told["begin"], told["end"]), told["cpu"] + launcher, launcher)


@dataclass(frozen=True)
class Bench:
    directory: Path
    epochs: int
    servers: Servers

    def pair(self, number: int, checkpoint_seconds: float) -> tuple[Timing, Timing, int, int]:
        """Plain Python, the launcher, and how many checkpoints the second has kept and how many metrics logged."""
        uid = f"uid-{number}"
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            plain, launched = self._plain(), self.launched(uid, checkpoint_seconds, work)
            order = (plain, launched) if number % 2 else (launched, plain)
            turns.take_turns(order[0].runner, order[1].runner, TURN_SECONDS)
            timings = plain.timing(), launched.timing()
        return *timings, self.checkpoints(uid), self.metrics(uid)

    def _plain(self) -> Training:
        arguments = [f"--data={self._corpus}", f"--epochs={self.epochs}"]
        command = [sys.executable, str(self.directory / "timed.py"), *arguments]
        return Training.start(self.directory, "plain", command, self._environment())

    def launched(self, uid: str, checkpoint_seconds: float, work: str) -> Training:
        """A training under the launcher; `uid` makes it a job of its own."""
        port = ports.free(1)[0]
        config = {
            "protocol": 1,
            "job": {"namespace": "bench", "name": uid, "uid": uid, "attempt": 1},
            "workers": {"count": 1},
            "source": {"path": str(self.directory), "entrypoint": "timed.py"},
            "parameters": {"data": str(self._corpus), "epochs": self.epochs},
            "datasets": [],
            "storage": {"endpoint": self.servers.store, "region": platform.REGION},
            "tracking": {"url": self.servers.mlflow, "experiment": "bench", "experimentId": self.servers.experiment},
            "checkpoint": {"uri": f"s3://{pod.BUCKET}/jobs/{uid}", "intervalSeconds": checkpoint_seconds, "keep": 100},
            "progressPort": port,
        }
        command = [sys.executable, "-m", "headrace_trainer"]
        training = Training.start(
            self.directory, "launched", command, self._environment() | pod.environment(config, work)
        )
        training.ask_each_turn(port)
        return training

    @property
    def _corpus(self) -> Path:
        return self.directory / "corpus.npz"

    def _environment(self) -> dict[str, str]:
        return pod.inherited() | {"BENCH_SCRIPT": str(EXAMPLE / "train.py"), "PYTHONHASHSEED": "0"}

    def checkpoints(self, uid: str) -> int:
        """How many the job has kept."""
        return sum(key.endswith("/manifest.json") for key in pod.keys(self.servers.store, f"jobs/{uid}/"))

    def metrics(self, uid: str) -> int:
        """How many the job's run has; it ends where that has not finished."""
        (run,) = self.servers.call(
            "runs/search",
            {"experiment_ids": [self.servers.experiment], "filter": f"tags.\"headrace.uid\" = '{uid}'"},
        )["runs"]
        if run["info"]["status"] != "FINISHED":
            raise SystemExit(f"the run of {uid} is {run['info']['status']}")
        return len(run["data"]["metrics"])


def compare(bench: Bench, pairs: int, interval: float) -> dict[str, Any]:
    """The result, as it is printed."""
    wall, cpu = [], []
    for number in range(pairs):
        # Its clock goes on while it is stopped, which is half of the time.
        plain, launched, checkpoints, metrics = bench.pair(number, 2 * interval)
        wall.append(launched.wall / plain.wall - 1)
        cpu.append(launched.cpu / plain.cpu - 1)
        print(
            f"pair {number + 1}: plain {plain.wall:.2f} s ({plain.cpu:.2f} s CPU), launched {launched.wall:.2f} s "
            f"({launched.cpu:.2f} s CPU, {launched.launcher:.2f} s of it the launcher's): "
            f"{wall[-1]:+.2%} ({cpu[-1]:+.2%}); {checkpoints} checkpoints, {metrics} metrics",
            flush=True,
        )
        if checkpoints < CHECKPOINTS:
            raise SystemExit(f"{checkpoints} checkpoints are too few to compare: train for more --epochs")
    return {
        "overhead_fraction": round(statistics.median(wall), 4),
        "overhead_fraction_of_pairs": [round(value, 4) for value in wall],
        "cpu_overhead_fraction": round(statistics.median(cpu), 4),
        "cpu_overhead_fraction_of_pairs": [round(value, 4) for value in cpu],
        "checkpoint_interval_seconds": interval,
        "pairs": pairs,
        "epochs": bench.epochs,
    }


def measure(directory: Path, epochs: int, work: Callable[[Bench], dict[str, Any]]) -> dict[str, Any]:
    """Starts the store and MLflow, and does the work with them."""
    _leave_core()
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
        pod.s3(store).create_bucket(Bucket=pod.BUCKET)
        url = f"http://127.0.0.1:{mlflow_port}"
        location = {"name": "bench", "artifact_location": f"s3://{pod.BUCKET}/mlflow"}
        made = Servers(url, "", store).call("experiments/create", location)
        return work(Bench(directory, epochs, Servers(url, made["experiment_id"], store)))
