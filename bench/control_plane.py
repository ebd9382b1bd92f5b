"""What the operator costs at rest, and how long it takes to a pod; training-operator beside it.

    python bench/control_plane.py --json [--without-peer]

A real API server, controller manager and MLflow, no nodes. First both operators rest with the same number of suspended
jobs each, measured at the same time; then jobs are created in turns and timed to their pods; then the peer is ended,
and as many ModelServices that follow a registry alias join the suspended TrainingJobs. A quiet time of 300 s has one of
the operator's sweeps in it.

The last line is one JSON object: `rest_memory_mb` (proportional set size), `rest_cpu_fraction` (of one core, over the
quiet time), `apply_to_pod_seconds` (median, from create to the pod), and the three divided by the peer's figures, of
which memory and CPU are those of suspended jobs alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform as machine
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import training_operator

from headrace.kube.client import KubeClient
from headrace.kube.resources import CONFIGMAPS, MODELSERVICES, PODS, TRAININGJOBS, Object, Resource
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import Ledger, model_name
from headrace_common.tags import DIGEST_TAG
from headrace_local import binaries, platform, ports
from headrace_local.controlplane import ControlPlane
from headrace_local.process import Process

REPOSITORY = Path(__file__).resolve().parents[1]
NAMESPACE = "default"
ROUTE = {"parentRefs": [{"name": "headrace", "namespace": "headrace-system"}]}
PATIENCE_SECONDS = 120.0
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Cost:
    """Of a process over a quiet time: memory in MB at its end, CPU as a fraction of one core."""

    memory: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    plane: ControlPlane
    kube: KubeClient
    mlflow: MlflowClient
    operator: Process
    arguments: argparse.Namespace

    async def quiet(self, *processes: Process) -> list[Cost]:
        """What each costs while nothing happens."""
        watched = [psutil.Process(process.pid) for process in processes]
        await asyncio.sleep(SETTLE_SECONDS)
        say(f"measuring for {self.arguments.quiet_seconds:.0f} s, load {os.getloadavg()[0]:.2f}")
        before = [_cpu_seconds(process) for process in watched]
        started = time.monotonic()
        await asyncio.sleep(self.arguments.quiet_seconds)
        elapsed = time.monotonic() - started
        return [
            Cost(process.memory_full_info().pss / 2**20, (_cpu_seconds(process) - used) / elapsed)
            for process, used in zip(watched, before, strict=True)
        ]

    async def seconds_to_pod(self, resource: Resource, job: Object, label: str) -> float:
        """From the request that creates the job to the one that finds its pod."""
        # What the API server has in its cache: a list of what is in etcd makes it wait, up to 100 ms, for a sign that
        # its cache is no older than the last write to anything.
        query = {"labelSelector": f"{label}={job['metadata']['name']}", "resourceVersion": "0"}
        started = time.monotonic()
        await self.kube.create(resource, job)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not json.loads(await self.kube.request("GET", PODS.path(NAMESPACE), params=query))["items"]:
                await asyncio.sleep(0.002)
        return time.monotonic() - started

    async def remove(self, resource: Resource, prefix: str) -> None:
        """Delete the objects of this kind whose names begin so; their pods are gone afterwards."""
        for obj in await self.kube.list(resource, NAMESPACE):
            meta = obj["metadata"]
            if meta["name"].startswith(prefix):
                await self.kube.delete(resource, NAMESPACE, meta["name"], uid=meta["uid"])

        async def are_gone() -> bool:
            return not any(p["metadata"]["name"].startswith(prefix) for p in await self.kube.list(PODS, NAMESPACE))

        await until(are_gone)


def main() -> int:
    parser = argparse.ArgumentParser(description="Costs of the operator.")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--each", type=int, default=50, help="suspended jobs at rest, and ModelServices beside them")
    parser.add_argument("--quiet-seconds", type=float, default=300.0, help="how long CPU at rest is measured")
    parser.add_argument("--applies", type=int, default=20, help="jobs of each operator whose way to a pod is timed")
    parser.add_argument("--without-peer", action="store_true", help="leave training-operator out: no Go, no ratios")
    arguments = parser.parse_args()
    peer = None if arguments.without_peer else training_operator.ensure()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), peer, arguments))
    print(f"{machine.processor() or machine.machine()}, {os.cpu_count()} cores, Python {machine.python_version()}")
    for name, value in figures.items():
        print(f"{name:>38}  {value}")
    if arguments.json:
        print(json.dumps(figures))
    return 0


async def measure(
    folder: Path, peer: training_operator.TrainingOperator | None, arguments: argparse.Namespace
) -> dict[str, float]:
    (port,) = ports.free(1)
    url = f"http://127.0.0.1:{port}"
    (folder / "mlflow").mkdir()
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane.start(folder / "plane", controller_manager=True))
        stack.enter_context(platform.mlflow(folder / "mlflow", port))
        for manifests in (REPOSITORY / "crds", binaries.ensure().gateway_api):
            plane.run_kubectl("apply", "--server-side", "--filename", manifests)
        plane.run_kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        operator = stack.enter_context(platform.operator(plane.kubeconfig, folder / "operator.log", url))
        async with KubeClient.session(plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
            bench = Bench(plane, kube, MlflowClient(url, *platform.ADMIN, http), operator, arguments)
            script = {"metadata": {"name": "code", "namespace": NAMESPACE}, "data": {"train.py": "print()"}}
            await kube.create(CONFIGMAPS, script)
            await make_suspended(bench, TRAININGJOBS, training_job, _is_suspended)
            ratios: dict[str, float] = {}
            if peer is not None:
                with training_operator.running(peer, plane, folder) as process:
                    ratios = await beside_the_peer(bench, process)
            else:
                ratios = {"apply_to_pod_seconds": round(statistics.median(await timed(bench)), 3)}
            await make_services(bench)
            say(f"{arguments.each} TrainingJobs and {arguments.each} ModelServices rest")
            (rest,) = await bench.quiet(operator)
            return {"rest_memory_mb": round(rest.memory, 1), "rest_cpu_fraction": round(rest.cpu, 5)} | ratios


# --- suspended jobs, and the way to a pod -----------------------------------------------------------------------------


async def beside_the_peer(bench: Bench, process: Process) -> dict[str, float]:
    def tfjob(name: str, *, suspend: bool) -> Object:
        return training_operator.job(name, NAMESPACE, suspend=suspend)

    await make_suspended(bench, training_operator.TFJOBS, tfjob, training_operator.is_suspended)
    say(f"{bench.arguments.each} suspended TrainingJobs and as many TFJobs rest")
    ours, theirs = await bench.quiet(bench.operator, process)
    own_times, their_times = [], []
    for number in range(bench.arguments.applies):
        own_times.append(await _time_own(bench, number))
        job = tfjob(f"timed-peer-{number}", suspend=False)
        label = training_operator.POD_LABEL
        their_times.append(await bench.seconds_to_pod(training_operator.TFJOBS, job, label))
        await asyncio.sleep(0.5)
    await bench.remove(TRAININGJOBS, "timed-own")
    await bench.remove(training_operator.TFJOBS, "timed-peer")
    own_time, their_time = statistics.median(own_times), statistics.median(their_times)
    return {
        "apply_to_pod_seconds": round(own_time, 3),
        "time_to_pods_vs_training_operator": round(own_time / their_time, 2),
        "cpu_vs_training_operator": round(ours.cpu / theirs.cpu, 2),
        "memory_vs_training_operator": round(ours.memory / theirs.memory, 2),
        "suspended_memory_mb": round(ours.memory, 1),
        "suspended_cpu_fraction": round(ours.cpu, 5),
        "training_operator_memory_mb": round(theirs.memory, 1),
        "training_operator_cpu_fraction": round(theirs.cpu, 5),
        "training_operator_apply_to_pod_seconds": round(their_time, 3),
    }


async def timed(bench: Bench) -> list[float]:
    times = [await _time_own(bench, number) for number in range(bench.arguments.applies)]
    await bench.remove(TRAININGJOBS, "timed-own")
    return times


async def _time_own(bench: Bench, number: int) -> float:
    job = training_job(f"timed-own-{number}", suspend=False)
    seconds = await bench.seconds_to_pod(TRAININGJOBS, job, "headrace.dev/trainingjob")
    await asyncio.sleep(0.5)
    return seconds


def training_job(name: str, *, suspend: bool) -> Object:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "suspend": suspend},
    }


async def make_suspended(
    bench: Bench, resource: Resource, job: Callable[..., Object], is_suspended: Callable[[Object], bool]
) -> None:
    for number in range(bench.arguments.each):
        await bench.kube.create(resource, job(f"rest-{number}", suspend=True))

    async def are_suspended() -> bool:
        return all(is_suspended(found) for found in await bench.kube.list(resource, NAMESPACE))

    await until(are_suspended)


def _is_suspended(job: Object) -> bool:
    return (job.get("status") or {}).get("state") == "Suspended"


# --- services ---------------------------------------------------------------------------------------------------------


async def make_services(bench: Bench) -> None:
    """Services with two pods each, every one stable and following an alias of a model of its own."""
    for number in range(bench.arguments.each):
        name = f"model-{number}"
        registered = model_name(NAMESPACE, name)
        await Ledger(bench.mlflow).ensure_model(NAMESPACE, name, "")
        tags = {DIGEST_TAG: f"sha256:{number:064d}"}
        version = await bench.mlflow.create_model_version(registered, f"s3://models/{name}", "", tags)
        await bench.mlflow.set_alias(registered, "candidate", version.version)
        await bench.kube.create(MODELSERVICES, _service(f"rest-{number}", name))

    async def are_stable() -> bool:
        await asyncio.to_thread(bench.plane.make_pods_ready, NAMESPACE)
        found = await bench.kube.list(MODELSERVICES, NAMESPACE)
        return all((service.get("status") or {}).get("phase") == "Stable" for service in found)

    await until(are_stable)


def _service(name: str, model: str) -> Object:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"registry": {"name": model, "alias": "candidate"}},
            "runtime": {"name": "onnxruntime"},
            "scaling": {"replicas": 2},
            "rollout": {"steps": [{"weight": 10, "hold": "1m"}]},
            "route": ROUTE,
        },
    }


# --- the machine ------------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.5)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
