"""The command line: every setting of the server, with its default and its unit.

Flags, no environment variables: Kubernetes itself sets variables such as HEADRACE_PORT for a Service called headrace.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from headrace_onnxruntime.cpus import available_cpus
from headrace_onnxruntime.failures import Reason, StartError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Settings:
    model_dir: Path
    model_name: str
    model_version: str
    digest: str
    bind: str
    port: int
    metrics_port: int
    threads: int
    max_batch: int
    max_request_rows: int
    max_in_flight: int
    max_body_bytes: int
    max_buffered_bytes: int
    request_timeout: float
    grace_seconds: float
    quiet_seconds: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartError(Reason.BAD_CONFIG, message, "`--help` lists the flags.")


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = _Parser(prog="headrace-onnxruntime", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--model-dir", type=Path, required=True, help="folder with onnx/model.onnx and signature.json")
    add("--model-name", type=_name, required=True, help="name in the URL: /v2/models/NAME/infer")
    add("--model-version", type=_name, default="1", help="version in the URL and in answers")
    add("--digest", default="", help="digest of the model, for metrics; else that of manifest.json in the folder")
    add("--bind", default="0.0.0.0", help="address to listen on")
    add("--port", type=_port, default=8080, help="requests")
    add("--metrics-port", type=_port, default=8081, help="GET /metrics")
    add("--threads", type=_count, default=available_cpus(), help="threads that compute one run")
    add("--max-batch", type=_count, default=64, help="rows of requests that are computed together; 1: never")
    add("--max-request-rows", type=_count, default=1024, help="rows of one request")
    add("--max-in-flight", type=_count, default=1024, help="requests at a time; 503 beyond")
    add("--max-body-bytes", type=_count, default=16 * 1024**2, help="one request's body, unpacked; 413 beyond")
    add("--max-buffered-bytes", type=_count, default=64 * 1024**2, help="all requests' bodies together; 503 beyond")
    add("--request-timeout", type=_seconds, default=30.0, help="seconds for one request")
    add("--grace-seconds", type=_seconds, default=25.0, help="longest time from SIGTERM to the end")
    add("--quiet-seconds", type=_seconds, default=1.0, help="after SIGTERM: seconds without a request before the end")
    values = vars(parser.parse_args(arguments))
    values["digest"] = values["digest"] or _digest(values["model_dir"] / MANIFEST_FILE)
    return Settings(**values)


def _digest(manifest: Path) -> str:
    """The loader leaves a copy of the manifest whose sum is the digest."""
    return f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}" if manifest.is_file() else ""


def _name(text: str) -> str:
    if not text or "/" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a part of a URL")
    return text


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 s and a day")
    return number


def termination_log() -> Path:
    return Path(os.environ.get("HEADRACE_TERMINATION_LOG", "/dev/termination-log"))
