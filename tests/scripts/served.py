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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from forking import Forked, interpreter_of_keras
from serving_support import free_ports

RUNTIMES = Path(__file__).resolve().parents[2] / "runtimes"
READY_SECONDS = 90
REQUEST_SECONDS = 30
# Of servers that compute in another order, as the export is held to (agreement.py); of the largest number there is.
TOLERANCE = 1e-4

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def by_onnxruntime(model: Path, inputs: dict[str, Any]) -> list[Any]:
    """The outputs in the signature's order; `model` is the exported folder."""
    outputs = named_by_onnxruntime(model, inputs)
    return [outputs[name] for name in outputs_of(model)]


def outputs_of(model: Path) -> list[str]:
    """The names of an exported model's outputs, in the signature's order."""
    return [tensor["name"] for tensor in json.loads((model / "signature.json").read_text())["outputs"]]


def named_by_onnxruntime(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs by their names."""
    with onnxruntime(model) as server:
        return asked_by_name(server, "m", inputs)


@contextlib.contextmanager
def onnxruntime(model: Path, name: str = "m") -> Iterator[str]:
    """Our server of ONNX Runtime, with the exported folder as the model of that name; its address, up to /v2."""
    port, metrics_port = free_ports(2)
    flags = ["--model-dir", str(model), "--model-name", name, "--model-version", "1", "--digest", "sha256:0"]
    flags += ["--bind", "127.0.0.1", "--port", str(port), "--metrics-port", str(metrics_port)]
    flags += ["--grpc-port", "0", "--threads", "1"]
    server = f"http://127.0.0.1:{port}"
    with _started("onnxruntime", flags, f"{server}/v2/health/ready", model.parent):
        yield server


def asked_by_name(server: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a server of the Open Inference Protocol answers; it says itself which inputs there are."""
    asked = []
    for tensor in _ask(f"{server}/v2/models/{name}")["inputs"]:
        values = inputs[tensor["name"]]
        about = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": list(np.shape(values))}
        asked.append({**about, "data": values})
    answer = _ask(f"{server}/v2/models/{name}/infer", {"inputs": asked})
    return {output["name"]: np.reshape(output["data"], output["shape"]).tolist() for output in answer["outputs"]}


def by_tensorflow_serving(model: Path, inputs: dict[str, Any]) -> list[Any]:
    """As above, by our own server of TensorFlow Serving's flags."""
    outputs = values_by_tensorflow_serving(model, inputs)
    names = outputs_of(model)
    return [outputs] if len(names) == 1 else [outputs[name] for name in names]


def values_by_tensorflow_serving(model: Path, inputs: dict[str, Any]) -> Any:
    """By their names; of a single output its values."""
    base = model.parent / "base"
    base.mkdir()
    (base / "1").symlink_to(model / "tensorflow")
    port, rest_port = free_ports(2)
    flags = ["--model_name=m", "--bind=127.0.0.1", f"--port={port}", f"--rest_api_port={rest_port}"]
    flags.append(f"--model_base_path={base}")
    server = f"http://127.0.0.1:{rest_port}/v1/models/m"
    with _started("tensorflow-serving", flags, server, model.parent):
        return _ask(f"{server}:predict", {"inputs": inputs})["outputs"]


def assert_same(given: Any, own: Any, tolerance: float, name: str) -> None:
    """Numbers that agree, in arrays that may differ in an axis of one."""
    wanted = np.asarray(own, "float64")
    scale = np.abs(wanted).max(initial=1e-3)
    ours = np.asarray(given, "float64").reshape(wanted.shape)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance * scale, err_msg=name)


@contextlib.contextmanager
def _started(runtime: str, flags: Sequence[str], ready: str, folder: Path) -> Iterator[None]:
    """The server of a runtime, ready and then ended; its log is in the folder."""
    module = f"headrace_{runtime.replace('-', '_')}"
    path = os.pathsep.join(str(RUNTIMES / name) for name in (runtime, "serving"))
    environment = {**os.environ, "PYTHONPATH": path}
    with (folder / f"{runtime}.log").open("wb") as log:
        process: Forked | subprocess.Popen[bytes]
        if runtime == "tensorflow-serving":  # it needs TensorFlow, whose import takes longer than what it is asked
            process = interpreter_of_keras().start(module, flags, environment, folder, log.fileno(), log.fileno())
        else:
            command = [sys.executable, "-m", module, *flags]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _await_ready(ready, lambda: process.poll() is None, log.name)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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
