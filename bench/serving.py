"""The ONNX server beside KServe's and MLServer's, and beside the engine alone: requests a second, CPU, memory, delays.

    python bench/serving.py [--models=lstm,transformer,forest,cnn] [--clients=1,16,64] [--seconds=5] [--rounds=2]
                            [--json]

Each server is a process on one core, its client on another one; all call ONNX Runtime of the same version with one
thread. They take turns, a round of all after the other, so that what disturbs the machine disturbs all alike. Batch 1,
over REST, as JSON and by the protocol's binary extension. The engine alone computes the same input in this process, on
the servers' core. KServe and MLServer come from PyPI into environments of their own, below the cache of the local
clusters. With --json the last line is one object of ratios: ours divided by theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pod
import served

from headrace_local import paths, ports
from headrace_local.process import Process

PEERS = {"kserve": "kserve==0.21.0", "mlserver": "mlserver==1.7.1"}
SERVER_CORE, CLIENT_CORE = 0, 1
READY_SECONDS = 90.0
END_SECONDS = 10.0
BATCH = 64
BENCH = Path(__file__).resolve().parent
RUNTIMES = BENCH.parent / "runtimes"
PATH = "/v2/models/m/infer"


@dataclass(frozen=True)
class Server:
    """A running one; `port` is that of REST."""

    process: Process
    port: int

    def cpu_seconds(self) -> float:
        return sum(pod.cpu_seconds(pid, 0.0) for pid in pod.family(self.process.pid))

    def memory_mb(self) -> float:
        """Of the whole family, what is resident."""
        return sum(_resident_kb(pid) for pid in pod.family(self.process.pid)) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(served.KINDS))
    parser.add_argument("--clients", default="1,16,64")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement, after one that warms up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="the ratios, in the last line")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("this needs two cores: one for the server, one for its client")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as work:
        peers = {name: environment(package) for name, package in PEERS.items()}
        for kind in options.models.split(","):
            model = served.make(kind, cache() / "models")
            clients = [int(number) for number in options.clients.split(",")]
            figures[kind] = compare(model, peers, clients, options, Path(work))
    if options.json:
        print(json.dumps(ratios(figures)))


def cache() -> Path:
    """What the benches of the servers make once."""
    return paths.cache() / "bench" / "serving"


def environment(package: str) -> Path:
    """The Python that has this one of PyPI's, with ONNX Runtime as here; made where it is not there."""
    import onnxruntime

    home = cache() / f"{package}-{onnxruntime.__version__}"
    python = home / "bin" / "python"
    if not (home / "made").exists():
        print(f"installing {package}", file=sys.stderr, flush=True)
        uv = str(Path(sys.executable).parent / "uv")
        packages = [package, f"onnxruntime=={onnxruntime.__version__}", "setuptools<81"]
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True, timeout=120
        )
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *packages]
        subprocess.run(install, check=True, timeout=900)
        (home / "made").touch()
    return python


def compare(
    model: served.Served, peers: dict[str, Path], clients: list[int], options: argparse.Namespace, work: Path
) -> dict[str, Any]:
    """The figures of a model, by server, kind of body and number of clients: the median of the rounds."""
    kind = model.path.parent.parent.name
    rounds: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {"headrace": stack.enter_context(ours(model, work))}
        for name, python in peers.items():
            servers[name] = stack.enter_context(peer(name, python, model, work))
        bodies = written(model, work)
        for number in range(options.rounds):
            found: dict[str, Any] = {"engine": engine(model, options.seconds)}
            for shape, (file, headers) in bodies.items():
                for amount in clients:
                    for name, server in servers.items():
                        if shape == "binary" and name != "headrace":
                            continue
                        key = f"{name} {shape} {amount}"
                        found[key] = measure(server, file, headers, amount, options.seconds)
                        print(f"{kind} {number + 1}: {key}: {_shown(found[key])}", file=sys.stderr, flush=True)
            rounds.append(found)
    middle: dict[str, Any] = {}
    for key, first in rounds[0].items():
        middle[key] = {what: statistics.median(found[key][what] for found in rounds) for what in first}
    return middle


def engine(model: served.Served, seconds: float) -> dict[str, float]:
    """The model called in this process, one thread, on the servers' core."""
    import onnxruntime

    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(model.path), options)
        feed = {model.name: model.value}
        for _ in range(3):
            session.run(None, feed)
        begin, count = time.perf_counter(), 0
        while (took := time.perf_counter() - begin) < seconds:
            session.run(None, feed)
            count += 1
        return {"per_second": count / took, "cpu_ms": 1000 * took / count}
    finally:
        os.sched_setaffinity(0, allowed)


def written(model: served.Served, work: Path) -> dict[str, tuple[Path, list[str]]]:
    """A file with the body, and its headers, as JSON and in the binary extension."""
    as_json, as_binary = work / "body.json", work / "body.bin"
    as_json.write_bytes(model.json_body())
    content, length = model.binary_body()
    as_binary.write_bytes(content)
    binary = ["Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {length}"]
    return {"json": (as_json, ["Content-Type: application/json"]), "binary": (as_binary, binary)}


def measure(server: Server, body: Path, headers: list[str], clients: int, seconds: float) -> dict[str, float]:
    """What the client saw, and CPU time a request and memory of the server."""
    command = [sys.executable, str(BENCH / "load_client.py"), str(server.port), PATH, str(body)]
    command += [str(clients), str(seconds), str(CLIENT_CORE), *headers]
    before = server.cpu_seconds()
    client = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + 60)
    if client.returncode != 0:
        raise SystemExit(client.returncode)  # it has said why
    found = json.loads(client.stdout.splitlines()[-1])
    # The second that warms up is in the CPU time, and its requests come at the same pace.
    asked = found["per_second"] * (seconds + 1)
    cpu = server.cpu_seconds() - before
    return {**found, "cpu_ms": 1000 * cpu / asked, "memory_mb": server.memory_mb()}


def ours(model: served.Served, work: Path) -> AbstractContextManager[Server]:
    [grpc_port] = ports.free(1)
    flags = [f"--grpc-port={grpc_port}", f"--max-batch={BATCH}"]
    return of_the_project("onnxruntime", model.path.parent.parent, flags, work / "headrace")


@contextmanager
def of_the_project(name: str, model: Path, flags: list[str], output: Path) -> Iterator[Server]:
    """The server of this folder of runtimes/, with one thread."""
    port, metrics_port = ports.free(2)
    command = [sys.executable, "-m", f"headrace_{name}", f"--model-dir={model}", "--model-name=m", "--bind=127.0.0.1"]
    command += [f"--port={port}", f"--metrics-port={metrics_port}", "--threads=1", *flags]
    code = (RUNTIMES / folder for folder in (name, "serving", "common"))
    with running(command, {"PYTHONPATH": ":".join(map(str, code))}, port, output) as server:
        yield server


@contextmanager
def peer(name: str, python: Path, model: served.Served, work: Path) -> Iterator[Server]:
    port, grpc_port, metrics_port = ports.free(3)
    folder = work / f"{name}-{model.path.parent.parent.name}"
    folder.mkdir()
    variables = {"PYTHONPATH": str(BENCH / "peers")}
    if name == "kserve":
        command = [str(python), str(BENCH / "peers" / "kserve_model.py"), str(model.path), str(port), str(grpc_port)]
    else:
        settings = {
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": grpc_port,
            "metrics_port": metrics_port,
            "parallel_workers": 0,
            "debug": False,
        }
        about = {"name": "m", "implementation": "mlserver_model.Onnx", "parameters": {"uri": str(model.path)}}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(about))
        command = [str(python.parent / "mlserver"), "start", str(folder)]
    with running(command, variables, port, folder / "out") as server:
        yield server


@contextmanager
def running(command: list[str], variables: dict[str, str], port: int, output: Path) -> Iterator[Server]:
    """The server on its core, once it says that the model is ready; ended with all that it has started, also where the
    bench itself is killed.
    """
    process = Process(["taskset", "--cpu-list", str(SERVER_CORE), *command], output, variables)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _is_ready(port):
            if not process.is_running() or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not get ready:\n{output.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield Server(process, port)
    finally:
        process.interrupt(END_SECONDS)


def _is_ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/v2/models/m/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _shown(found: dict[str, float]) -> str:
    return (
        f"{found['per_second']:.0f}/s, p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms, "
        f"{found['cpu_ms']:.3f} ms CPU, {found['memory_mb']:.0f} MB"
    )


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Ours divided by theirs: of the LSTM with most clients over JSON, and of the CNN beside the engine alone."""
    found: dict[str, float] = {}
    if "lstm" in figures:
        most = max(int(key.split()[2]) for key in figures["lstm"] if " json " in key)
        one = {name: figures["lstm"][f"{name} json {most}"] for name in ("headrace", *PEERS)}
        for name in PEERS:
            for what, called in (
                ("per_second", "throughput"),
                ("cpu_ms", "cpu_per_request"),
                ("memory_mb", "memory"),
                ("p99_ms", "p99"),
            ):
                found[f"{called}_vs_{name}"] = one["headrace"][what] / one[name][what]
    if "cnn" in figures:
        alone = figures["cnn"]["engine"]["per_second"]
        for shape, called in (("binary", "fraction_of_engine"), ("json", "fraction_of_engine_json")):
            rates = [
                value["per_second"] for key, value in figures["cnn"].items() if key.startswith(f"headrace {shape} ")
            ]
            found[called] = max(rates) / alone
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    main()
