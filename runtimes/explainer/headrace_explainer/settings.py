"""The command line: every setting of the explainer, with its default and its unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_serving.flags import count
from headrace_serving.model_flags import ModelSettings, model_parser, values_of

METHODS = ("Auto", "Shapley", "Occlusion")


@dataclass(frozen=True)
class Settings(ModelSettings):
    method: str
    budget: int
    background: Path | None
    max_rows: int
    concurrency: int
    max_waiting: int


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = model_parser(
        "headrace-explainer",
        "/v2/models/NAME/explain",
        batch="rows in one run of the model",
        max_body_bytes=4 * 1024**2,
        max_buffered_bytes=16 * 1024**2,
    )
    add = parser.add_argument
    add("--method", choices=METHODS, default="Auto", help="of requests that name none")
    add(
        "--budget", type=count, default=512, help="rows that the model is asked for one row; a request may ask for less"
    )
    add("--background", type=Path, help="file with rows to compare with: the inputs of a request; else zeros")
    add("--max-rows", type=count, default=16, help="rows of one request")
    add("--concurrency", type=count, default=1, help="requests that are explained at a time")
    add("--max-waiting", type=count, default=8, help="requests that wait for their turn; 429 beyond")
    return Settings(**values_of(parser, arguments))
