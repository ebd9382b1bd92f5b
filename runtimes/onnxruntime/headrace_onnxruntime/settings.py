"""The command line: every setting of the server, with its default and its unit.

Flags, no environment variables: Kubernetes itself sets variables such as HEADRACE_PORT for a Service called headrace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace_serving.flags import count, port_number, seconds
from headrace_serving.model_flags import ModelSettings, model_parser, values_of


@dataclass(frozen=True)
class Settings(ModelSettings):
    max_request_rows: int
    max_in_flight: int
    grpc_port: int
    max_delay: float
    max_wait: float


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = model_parser(
        "headrace-onnxruntime",
        "/v2/models/NAME/infer",
        batch="rows of requests that are computed together; 1: never",
        max_body_bytes=16 * 1024**2,
        max_buffered_bytes=64 * 1024**2,
    )
    parser.add_argument("--max-request-rows", type=count, default=1024, help="rows of one request")
    parser.add_argument("--max-in-flight", type=count, default=1024, help="requests at a time; 503 beyond")
    parser.add_argument(
        "--max-delay", type=seconds, default=0.0, help="seconds that a request waits for others to be computed with"
    )
    parser.add_argument(
        "--max-wait",
        type=seconds,
        default=None,
        help="seconds; 429 for a request that would wait longer for the model; --request-timeout where it is not given",
    )
    parser.add_argument("--grpc-port", type=port_number, default=8500, help="requests by gRPC; 0: none")
    values = values_of(parser, arguments)
    if values["max_wait"] is None:
        values["max_wait"] = values["request_timeout"]
    return Settings(**values)
