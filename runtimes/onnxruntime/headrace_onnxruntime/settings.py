"""The command line: every setting of the server, with its default and its unit.

Flags, no environment variables: Kubernetes itself sets variables such as HEADRACE_PORT for a Service called headrace.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_common import manifest
from headrace_common.cpus import available_cpus
from headrace_serving.flags import Parser, count, port_number, seconds


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


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = Parser(prog="headrace-onnxruntime", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--model-dir", type=Path, required=True, help="folder with onnx/model.onnx and signature.json")
    add("--model-name", type=_name, required=True, help="name in the URL: /v2/models/NAME/infer")
    add("--model-version", type=_name, default="1", help="version in the URL and in answers")
    add("--digest", default="", help="digest of the model, for metrics; else that of manifest.json in the folder")
    add("--bind", default="0.0.0.0", help="address to listen on")
    add("--port", type=port_number, default=8080, help="requests")
    add("--metrics-port", type=port_number, default=8081, help="GET /metrics")
    add("--threads", type=count, default=available_cpus(), help="threads that compute one run")
    add("--max-batch", type=count, default=64, help="rows of requests that are computed together; 1: never")
    add("--max-request-rows", type=count, default=1024, help="rows of one request")
    add("--max-in-flight", type=count, default=1024, help="requests at a time; 503 beyond")
    add("--max-body-bytes", type=count, default=16 * 1024**2, help="one request's body, unpacked; 413 beyond")
    add("--max-buffered-bytes", type=count, default=64 * 1024**2, help="all requests' bodies together; 503 beyond")
    add("--request-timeout", type=seconds, default=30.0, help="seconds for the body of one request, and for its answer")
    add("--grace-seconds", type=seconds, default=25.0, help="longest time from SIGTERM to the end")
    add(
        "--quiet-seconds",
        type=seconds,
        default=1.0,
        help="after SIGTERM: seconds without a request before the end",
    )
    values = vars(parser.parse_args(arguments))
    values["digest"] = values["digest"] or manifest.digest_below(values["model_dir"])
    return Settings(**values)


def _name(text: str) -> str:
    if not text or "/" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a part of a URL")
    return text
