"""The command line: every setting of the server, with its default and its unit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from headrace_serving.flags import count
from headrace_serving.model_flags import ModelSettings, model_parser, values_of


@dataclass(frozen=True)
class Settings(ModelSettings):
    """`cache_bytes` and `max_context` are 0 where they are to be chosen."""

    max_queue: int
    prompt_piece: int
    cache_bytes: int
    max_context: int


def parse(arguments: Sequence[str]) -> Settings:
    """The settings in `arguments`. Raises StartError(BadConfig)."""
    parser = model_parser(
        "headrace-text",
        "/v2/models/NAME/generate",
        batch="requests that are generated together; fewer where their KV cache would not fit into --cache-bytes",
        max_body_bytes=4 * 1024**2,
        max_buffered_bytes=64 * 1024**2,
        folder="folder with text/: model.onnx, genai_config.json, tokenizer.json",
    )
    parser.set_defaults(max_batch=16, request_timeout=600.0)
    add = parser.add_argument
    add("--max-queue", type=count, default=64, help="requests that wait for a place in the batch; 429 beyond")
    add("--prompt-piece", type=count, default=64, help="tokens of prompts that are read between two steps")
    add("--cache-bytes", type=_chosen, default=0, help="the KV cache of all; 0: half of what the pod's memory leaves")
    add("--max-context", type=_chosen, default=0, help="tokens of one request, prompt and answer; 0: the model's")
    return Settings(**values_of(parser, arguments))


def _chosen(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number
