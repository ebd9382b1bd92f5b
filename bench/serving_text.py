"""The server of texts beside onnxruntime-genai's Generator on the same graph: tokens a second, time to the first token.

    python bench/serving_text.py [--new=128] [--prompt=32] [--long=800] [--rounds=3] [--json]

A decoder of 26 million weights of random values with a KV cache, one thread each, on one core; the client of ours is on
another one. Both take turns. `together` are eight requests that start at once; `beside` is the first token of a short
request while a long prompt of somebody else is read. What forty requests that come and go are worth is shown for ours
alone: the Generator admits nobody into a batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import serving
from onnx import numpy_helper

BENCH = Path(__file__).resolve().parent
sys.path.append(str(serving.RUNTIMES / "text" / "tests"))
import text_models  # noqa: E402

CONTEXT = 1024
TOGETHER = 8
MANY = 40
EVERY_SECONDS = 0.1
GENAI = "onnxruntime-genai==0.18.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new", type=int, default=128, help="tokens to write")
    parser.add_argument("--prompt", type=int, default=32, help="tokens of a prompt")
    parser.add_argument("--long", type=int, default=800, help="tokens of the long one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="the ratios, in the last line")
    options = parser.parse_args()
    python = serving.environment(GENAI)
    os.sched_setaffinity(0, {serving.CLIENT_CORE})
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as work:
        folder = decoder(Path(work))
        with serving.of_the_project("text", folder, ["--max-batch=16"], Path(work) / "text.log") as server:
            for number in range(options.rounds):
                found = asyncio.run(of_ours(server.port, options)) | of_genai(python, folder / "text", options)
                rounds.append(found)
                print(f"{number + 1}: {_shown(found)}", file=sys.stderr, flush=True)
    middle = {key: statistics.median(found[key] for found in rounds) for key in rounds[0]}
    if options.json:
        print(json.dumps(ratios(middle)))


def decoder(work: Path) -> Path:
    """The folder of the model, whose config gives both sides one thread."""
    text_models.LAYERS, text_models.HEADS, text_models.CACHED_HEADS = 12, 16, 16
    text_models.HEAD, text_models.WIDTH = 64, 512
    written = text_models.cached(seed=1, context=CONTEXT)
    for weights in written.model.graph.initializer:  # without norms between its layers numbers would grow beyond floats
        values = numpy_helper.to_array(weights)
        if values.ndim == 2 and values.shape[0] >= text_models.WIDTH:
            scaled = (values / np.sqrt(values.shape[0])).astype(values.dtype)
            weights.CopyFrom(numpy_helper.from_array(scaled, weights.name))
    settings = text_models.config(written)
    settings["model"]["decoder"]["session_options"] = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    return text_models.write(work / "decoder", written, settings)


def prompt(tokens: int, seed: int) -> str:
    """Each letter is a token."""
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz ", k=tokens))


async def ask(http: aiohttp.ClientSession, text: str, tokens: int) -> tuple[float, float]:
    """Seconds to the first token, and to the last."""
    body = {"model": "m", "prompt": text, "max_tokens": tokens, "temperature": 0, "stream": True}
    body["stream_options"] = {"include_usage": True}
    begin, first, written = time.perf_counter(), 0.0, 0
    async with http.post("/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - begin
                written = (json.loads(line[6:]).get("usage") or {}).get("completion_tokens", written)
    if written != tokens:
        raise SystemExit(f"the model wrote {written} tokens and not {tokens}: another seed is needed")
    return first, time.perf_counter() - begin


async def of_ours(port: int, options: argparse.Namespace) -> dict[str, float]:
    found: dict[str, float] = {}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http:
        await ask(http, prompt(options.prompt, 0), 4)
        first, last = await ask(http, prompt(options.prompt, 1), options.new)
        found |= {"ours first": first, "ours one": options.new / last}
        begin = time.perf_counter()
        await asyncio.gather(*(ask(http, prompt(options.prompt, 10 + n), options.new) for n in range(TOGETHER)))
        found["ours together"] = TOGETHER * options.new / (time.perf_counter() - begin)

        lengths = [16 + 7 * n % 113 for n in range(MANY)]

        async def later(number: int) -> None:
            await asyncio.sleep(number * EVERY_SECONDS)
            await ask(http, prompt(options.prompt, 100 + number), lengths[number])

        begin = time.perf_counter()
        await asyncio.gather(*(later(number) for number in range(MANY)))
        found["ours many"] = sum(lengths) / (time.perf_counter() - begin)

        long = asyncio.ensure_future(ask(http, prompt(options.long, 2), 1))
        await asyncio.sleep(0.02)
        found["ours beside"], _ = await ask(http, prompt(options.prompt, 3), 2)
        found["ours long first"], _ = await long
    return found


def of_genai(python: Path, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    def run(tokens: int, requests: int, length: int) -> dict[str, Any]:
        command = ["taskset", "--cpu-list", str(serving.SERVER_CORE), str(python)]
        command += [str(BENCH / "peers" / "genai_generate.py"), str(folder)]
        command += [str(length), str(tokens), str(requests), "1"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=600, check=True)
        result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        if result["tokens"] != tokens:
            raise SystemExit(f"the Generator wrote {result['tokens']} tokens and not {tokens}")
        return result

    one, together = run(options.new, 1, options.prompt), run(options.new, TOGETHER, options.prompt)
    long = run(1, 1, options.long)
    return {
        "genai first": one["first"],
        "genai one": options.new / one["last"],
        "genai together": TOGETHER * options.new / together["last"],
        "genai long first": long["first"],
    }


def ratios(found: dict[str, float]) -> dict[str, float]:
    """Ours divided by the Generator's."""
    each = {
        "text_tokens_vs_bare": found["ours together"] / found["genai together"],
        "text_tokens_one_vs_bare": found["ours one"] / found["genai one"],
        "text_first_token_vs_bare": found["ours first"] / found["genai first"],
        "text_first_token_long_vs_bare": found["ours long first"] / found["genai long first"],
        "text_first_token_beside_vs_alone": found["ours beside"] / found["ours first"],
    }
    return {name: round(value, 3) for name, value in each.items()}


def _shown(found: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {1000 * value:.0f} ms" if name.endswith(("first", "beside")) else f"{name} {value:.0f} tokens/s"
        for name, value in found.items()
    )


if __name__ == "__main__":
    main()
