"""What checkpoints, tracking and progress cost a training, and what a checkpoint of a large model costs.

    python bench/checkpoint.py [--pairs=5] [--epochs=20] [--interval=20] [--seconds=40] [--json]
                               [--only=counted|time|size]

First, without MLflow, what a checkpoint of 1 GB costs: see big_state.py. Then the text generator trained by the
launcher, the CPU time of what that adds counted: see counted.py. Then trained by plain Python and by the launcher, in
pairs: see training_time.py. The result is the median over the pairs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import big_state
import counted
import pod
import training_time

from headrace_local import platform, ports


@dataclass(frozen=True)
class BigBench:
    """The launcher with a large model and a store, without MLflow."""

    directory: Path
    store: str
    seconds: float

    def run(self, case: big_state.Case, with_launcher: bool) -> big_state.Run:
        parameters = {**case.parameters, "seconds": self.seconds}
        result, output = self.directory / "result", self.directory / "big.log"
        environment = pod.inherited() | {"BENCH_RESULT": str(result)}
        prefix = f"jobs/{case.name}"
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            arguments = [f"--{name}={value}" for name, value in parameters.items()]
            command = [sys.executable, str(self.directory / "big.py"), *arguments]
            if with_launcher:
                command = [sys.executable, "-m", "headrace_trainer"]
                environment |= pod.environment(self._config(prefix, parameters), work)
            process = pod.start(command, environment, output)
            with big_state.Memory(process) as memory:
                pod.finish(process, output)
        manifests = [key for key in pod.keys(self.store, prefix) if key.endswith("/manifest.json")]
        for key in pod.keys(self.store, prefix):
            pod.s3(self.store).delete_object(Bucket=pod.BUCKET, Key=key)
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
            "checkpoint": {"uri": f"s3://{pod.BUCKET}/{prefix}", "intervalSeconds": self.seconds / 4, "keep": 1},
            "progressPort": ports.free(1)[0],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two checkpoints of a pair's run")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long each run of a large model trains")
    parser.add_argument("--only", choices=["counted", "time", "size"], help="one of the three alone")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what it has started ends with it
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.only in (None, "size"):
            result |= measure_sizes(directory, arguments.seconds)
        if arguments.only in (None, "counted", "time"):
            result |= training_time.measure(directory, arguments.epochs, lambda bench: measure_time(bench, arguments))
    print(json.dumps(result) if arguments.json else result)


def measure_time(bench: training_time.Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """What watching costs a training."""
    result = {}
    if arguments.only != "time":
        result |= counted.count(bench, arguments.interval)
    if arguments.only != "counted":
        result |= training_time.compare(bench, arguments.pairs, arguments.interval)
    return result


def measure_sizes(directory: Path, seconds: float) -> dict[str, Any]:
    """What checkpoints of large models cost."""
    (directory / "big.py").write_text(big_state.SCRIPT)
    (directory / "store").mkdir()
    with platform.store(directory / "store", ports.free(1)[0]) as store:
        pod.s3(store).create_bucket(Bucket=pod.BUCKET)
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


if __name__ == "__main__":
    main()
