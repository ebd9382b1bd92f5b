"""The command line: the official server's flags that a pod uses, and our own, each with its default and its unit.

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
from headrace_tensorflow_serving import monitoring


@dataclass(frozen=True)
class Settings:
    """`metrics_path` is what the monitoring file says, None without metrics; `digest` may be empty."""

    port: int
    rest_api_port: int
    model_name: str
    model_base_path: Path
    metrics_path: str | None
    digest: str
    bind: str
    intra_op_threads: int
    inter_op_threads: int
    request_threads: int
    rest_timeout_seconds: float
    max_in_flight: int
    max_body_bytes: int
    max_buffered_bytes: int
    grace_seconds: float
    quiet_seconds: float


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = _parser()
    flags = parser.parse_args(arguments)
    if flags.port == flags.rest_api_port:
        parser.error(f"--port and --rest_api_port are both {flags.port}.")
    cpus = available_cpus()
    return Settings(
        port=flags.port,
        rest_api_port=flags.rest_api_port,
        model_name=flags.model_name,
        model_base_path=flags.model_base_path,
        metrics_path=monitoring.metrics_path(flags.monitoring_config_file) if flags.monitoring_config_file else None,
        digest=manifest.digest_below(flags.model_base_path.parent),
        bind=flags.bind,
        intra_op_threads=flags.tensorflow_intra_op_parallelism or cpus,
        inter_op_threads=flags.tensorflow_inter_op_parallelism or cpus,
        request_threads=flags.rest_api_num_threads or 2 * cpus,
        rest_timeout_seconds=flags.rest_api_timeout_in_ms / 1000,
        max_in_flight=flags.max_in_flight,
        max_body_bytes=flags.max_body_bytes,
        max_buffered_bytes=flags.max_buffered_bytes,
        grace_seconds=flags.grace_seconds,
        quiet_seconds=flags.quiet_seconds,
    )


def _parser() -> Parser:
    parser = Parser(
        prog="headrace-tensorflow-serving",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        # A misspelt flag must not be taken for another one.
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=port_number, default=8500, help="gRPC; 0: none")
    add("--rest_api_port", type=_open_port, default=8501, help="REST and metrics")
    add("--model_name", type=_name, required=True, help="name in the URL: /v1/models/NAME:predict")
    add("--model_base_path", type=Path, required=True, help="folder of numeric version folders; the highest is served")
    add("--monitoring_config_file", type=Path, help="MonitoringConfig in protobuf's text format; none: no metrics")
    add("--rest_api_timeout_in_ms", type=count, default=30000, help="a request's body, and REST's answer")
    add("--rest_api_num_threads", type=_number, default=0, help="requests computed at a time; 0: twice the CPUs")
    add("--tensorflow_intra_op_parallelism", type=_number, default=0, help="threads of one operation; 0: the CPUs")
    add("--tensorflow_inter_op_parallelism", type=_number, default=0, help="operations at a time; 0: the CPUs")
    ours = parser.add_argument_group("not of the official server")
    add = ours.add_argument
    add("--bind", default="0.0.0.0", help="address to listen on")
    add("--max_in_flight", type=count, default=1024, help="predictions at a time; 503 beyond")
    add("--max_body_bytes", type=count, default=16 * 1024**2, help="one request's body, unpacked; 413 beyond")
    add("--max_buffered_bytes", type=count, default=64 * 1024**2, help="all requests' bodies together; 503 beyond")
    add("--grace_seconds", type=seconds, default=25.0, help="longest time from SIGTERM to the end")
    add(
        "--quiet_seconds",
        type=seconds,
        default=1.0,
        help="after SIGTERM: seconds without a request before the end",
    )
    return parser


def _name(text: str) -> str:
    if not text or "/" in text or ":" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a part of a URL")
    return text


def _open_port(text: str) -> int:
    if (number := port_number(text)) == 0:
        raise argparse.ArgumentTypeError("readiness and metrics need it: it cannot be 0")
    return number


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number
