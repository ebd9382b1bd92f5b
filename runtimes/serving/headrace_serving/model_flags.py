"""The flags that our servers of one exported model have in common, each with its default and its unit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common import manifest
from headrace_common.cpus import available_cpus
from headrace_serving.flags import Parser, count, name, port_number, seconds


@dataclass(frozen=True)
class ModelSettings:
    """What these flags come to. `digest` may be empty."""

    model_dir: Path
    model_name: str
    model_version: str
    digest: str
    bind: str
    port: int
    metrics_port: int
    threads: int
    max_batch: int
    max_body_bytes: int
    max_buffered_bytes: int
    request_timeout: float
    grace_seconds: float
    quiet_seconds: float


def model_parser(
    program: str,
    path: str,
    *,
    batch: str,
    max_body_bytes: int,
    max_buffered_bytes: int,
    folder: str = "folder with onnx/model.onnx and signature.json",
) -> Parser:
    """With the flags of ModelSettings. `path` is the URL's, with NAME for the model's; `batch` says what --max-batch
    counts, `folder` what --model-dir has.
    """
    parser = Parser(prog=program, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--model-dir", type=Path, required=True, help=folder)
    add("--model-name", type=name, required=True, help=f"name in the URL: {path}")
    add("--model-version", type=name, default="1", help="version in the URL and in answers")
    add("--digest", default="", help="digest of the model, for metrics; else that of manifest.json in the folder")
    add("--bind", default="0.0.0.0", help="address to listen on")
    add("--port", type=port_number, default=8080, help="requests")
    add("--metrics-port", type=port_number, default=8081, help="GET /metrics")
    add("--threads", type=count, default=available_cpus(), help="threads that compute one run of the model")
    add("--max-batch", type=count, default=64, help=batch)
    add("--max-body-bytes", type=count, default=max_body_bytes, help="one request's body, unpacked; 413 beyond")
    add(
        "--max-buffered-bytes",
        type=count,
        default=max_buffered_bytes,
        help="all requests' bodies together; 503 beyond",
    )
    add("--request-timeout", type=seconds, default=30.0, help="seconds for the body of one request, and for its answer")
    add("--grace-seconds", type=seconds, default=25.0, help="longest time from SIGTERM to the end")
    add("--quiet-seconds", type=seconds, default=1.0, help="after SIGTERM: seconds without a request before the end")
    return parser


def values_of(parser: Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """The settings by their names. Raises StartError(BadConfig)."""
    values = vars(parser.parse_args(arguments))
    values["digest"] = values["digest"] or manifest.digest_below(values["model_dir"])
    return values
