"""What the operator costs: memory and CPU at rest with 100 TrainingJobs, and the time from apply to a pod.

    python bench/control_plane.py --json

A real API server and controller manager, no nodes. The last line is one JSON object: `rest_memory_mb` (proportional set
size), `rest_cpu_fraction` (of one core, over the quiet time), `apply_to_pod_seconds` (median, from create to the pod).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from headrace.kube.client import KubeClient
from headrace.kube.resources import CONFIGMAPS, PODS, TRAININGJOBS
from headrace_local.controlplane import ControlPlane

REPOSITORY = Path(__file__).resolve().parents[1]
NAMESPACE = "default"
PATIENCE_SECONDS = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Costs of the operator.")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--resources", type=int, default=100, help="TrainingJobs at rest")
    parser.add_argument("--quiet-seconds", type=float, default=120.0, help="how long CPU at rest is measured")
    parser.add_argument("--applies", type=int, default=10, help="TrainingJobs whose way to a pod is timed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ControlPlane.start(Path(folder), controller_manager=True) as plane:
        kubectl = [plane.kubectl, "--kubeconfig", plane.kubeconfig]
        for verb in (["apply", "--server-side"], ["wait", "--for=condition=Established"]):
            command = [*kubectl, *verb, "-f", REPOSITORY / "crds"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        with operator(plane, Path(folder)) as process:
            figures = asyncio.run(measure(plane, process, arguments))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, value in figures.items():
        print(f"{name:>24}  {value}")
    if arguments.json:
        print(json.dumps(figures))
    return 0


@contextmanager
def operator(plane: ControlPlane, folder: Path) -> Iterator[psutil.Process]:
    """The operator as a process of its own, ended by its id."""
    env = os.environ | {
        "HEADRACE_OPERATOR_NAMESPACE": NAMESPACE,
        "HEADRACE_TRAINER_IMAGE": "trainer:none",
        "HEADRACE_HEALTH_PORT": "0",
    }
    with (folder / "operator.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "--kubeconfig", str(plane.kubeconfig)],
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def measure(plane: ControlPlane, process: psutil.Process, arguments: argparse.Namespace) -> dict[str, float]:
    async with KubeClient.session(plane.kubeconfig) as client:
        script = {"metadata": {"name": "code", "namespace": NAMESPACE}, "data": {"train.py": "print()"}}
        await client.create(CONFIGMAPS, script)
        for number in range(arguments.resources):
            await client.create(TRAININGJOBS, training_job(f"rest-{number}", suspend=True))
        await until_all_are_suspended(client, arguments.resources)
        print(
            f"{arguments.resources} TrainingJobs are at rest; measuring for {arguments.quiet_seconds:.0f} s", flush=True
        )
        await asyncio.sleep(10)
        before = cpu_seconds(process)
        await asyncio.sleep(arguments.quiet_seconds)
        cpu = (cpu_seconds(process) - before) / arguments.quiet_seconds
        memory = process.memory_full_info().pss / 2**20
        times = [await apply_to_pod(client, f"timed-{number}") for number in range(arguments.applies)]
    return {
        "rest_memory_mb": round(memory, 1),
        "rest_cpu_fraction": round(cpu, 5),
        "apply_to_pod_seconds": round(statistics.median(times), 3),
    }


def training_job(name: str, *, suspend: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "suspend": suspend},
    }


async def until_all_are_suspended(client: KubeClient, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS + count):
        while True:
            jobs = await client.list(TRAININGJOBS, NAMESPACE)
            if sum((job.get("status") or {}).get("state") == "Suspended" for job in jobs) == count:
                return
            await asyncio.sleep(1)


async def apply_to_pod(client: KubeClient, name: str) -> float:
    """Seconds from the request that creates the TrainingJob to the one that finds its pod."""
    started = time.monotonic()
    await client.create(TRAININGJOBS, training_job(name, suspend=False))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await client.list(PODS, NAMESPACE, f"headrace.dev/trainingjob={name}"):
            await asyncio.sleep(0.02)
    return time.monotonic() - started


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
