"""Asks the servers of an exported model, real ones on loopback, what its own process was asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from forking import Interpreter
from serving_support import free_ports

RUNTIMES = Path(__file__).resolve().parents[2] / "runtimes"
READY_SECONDS = 90
REQUEST_SECONDS = 30

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def by_onnxruntime(model: Path, inputs: dict[str, Any]) -> list[Any]:
    """The outputs in the signature's order; `model` is the exported folder."""
    signature = json.loads((model / "signature.json").read_text())
    outputs = named_by_onnxruntime(model, inputs)
    return [outputs[tensor["name"]] for tensor in signature["outputs"]]


def named_by_onnxruntime(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs by their names; the server itself says which inputs there are."""
    port, metrics_port = free_ports(2)
    command = [sys.executable, "-m", "headrace_onnxruntime", "--model-dir", str(model), "--model-name", "m"]
    command += ["--model-version", "1", "--digest", "sha256:0", "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--metrics-port", str(metrics_port), "--threads", "1"]
    path = os.pathsep.join(str(RUNTIMES / name) for name in ("onnxruntime", "serving"))
    with (model.parent / "onnxruntime.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            server = f"http://127.0.0.1:{port}/v2"
            _await_ready(f"{server}/health/ready", lambda: process.poll() is None, log.name)
            asked = []
            for tensor in _ask(f"{server}/models/m")["inputs"]:
                values = inputs[tensor["name"]]
                about = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": list(np.shape(values))}
                asked.append({**about, "data": values})
            answer = _ask(f"{server}/models/m/infer", {"inputs": asked})
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {output["name"]: np.reshape(output["data"], output["shape"]).tolist() for output in answer["outputs"]}


def by_tensorflow_serving(model: Path, inputs: dict[str, Any], interpreter: Interpreter) -> list[Any]:
    """As above, by our own server of TensorFlow Serving's flags."""
    outputs = values_by_tensorflow_serving(model, inputs, interpreter)
    signature = json.loads((model / "signature.json").read_text())
    names = [tensor["name"] for tensor in signature["outputs"]]
    return [outputs] if len(names) == 1 else [outputs[name] for name in names]


def values_by_tensorflow_serving(model: Path, inputs: dict[str, Any], interpreter: Interpreter) -> Any:
    """By their names; of a single output its values."""
    base = model.parent / "base"
    base.mkdir()
    (base / "1").symlink_to(model / "tensorflow")
    port, rest_port = free_ports(2)
    arguments = ["--model_name=m", "--bind=127.0.0.1", f"--port={port}", f"--rest_api_port={rest_port}"]
    arguments.append(f"--model_base_path={base}")
    with (model.parent / "tensorflow-serving.log").open("wb") as log:
        process = interpreter.start(
            "headrace_tensorflow_serving",
            arguments,
            dict(os.environ),
            model.parent,
            log.fileno(),
            log.fileno(),
            log.fileno(),
        )
        with _ended(process.pid):
            _await_ready(
                f"http://127.0.0.1:{rest_port}/v1/models/m", lambda: Path(f"/proc/{process.pid}").exists(), log.name
            )
            answer = _ask(f"http://127.0.0.1:{rest_port}/v1/models/m:predict", {"inputs": inputs})
    return answer["outputs"]


@contextlib.contextmanager
def _ended(process: int) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def _await_ready(url: str, is_alive: Any, log: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError), _opener.open(url, timeout=5) as answer:
            if answer.status == 200:
                return
        if not is_alive() or time.monotonic() > deadline:
            raise AssertionError(f"the server did not become ready: {Path(log).read_text()[-2000:]}")
        time.sleep(0.05)


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with _opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.code}: {error.read()[:1000]!r}") from None
