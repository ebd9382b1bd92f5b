"""What it takes a serving pod's loader to fetch a model: few large files, and many small ones.

    python bench/loader.py [--mb=1000] [--large=3] [--small=2000] [--small-bytes=4096] [--delay-ms=0,10]
                           [--cases=large,small] [--before=FOLDER] [--json]

From versitygw on the same machine, by the loader as a process, as its pod starts it: with its imports, and with all
sums. `--before` is the folder runtimes/ of another checkout, whose loader is measured beside this one's. With a delay a
proxy in front of the store keeps each of its answers back for so long, as a network would.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pod
from datasets import Slow

from headrace_common import manifest
from headrace_common.formats import FOLDERS, ModelFormat
from headrace_local import platform, ports

AT_ONCE = 8
# What getrusage calls the peak includes what this process had in memory when it started the other one.
_LOADER = """
import runpy
try:
    runpy.run_module("headrace_loader", run_name="__main__")
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def contents(case: str, options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """The model's files, one after the other."""
    large = case == "large"
    size = options.mb * 1_000_000 // options.large if large else options.small_bytes
    folder = FOLDERS[ModelFormat.ONNX]
    for number in range(options.large if large else options.small):
        yield f"{folder}/{number // 100:03d}/{number:06d}.bin", os.urandom(size)


def publish(s3: Any, case: str, options: argparse.Namespace) -> str:
    """Puts a model into the store; its digest."""

    def put(one: tuple[str, bytes]) -> manifest.File:
        path, content = one
        s3.put_object(Bucket=pod.BUCKET, Key=f"{case}/{path}", Body=content)
        return manifest.File(path, hashlib.sha256(content).hexdigest(), len(content))

    with ThreadPoolExecutor(1 if case == "large" else AT_ONCE) as pool:  # one large file is in memory at a time
        each = map(put, contents(case, options)) if case == "large" else pool.map(put, contents(case, options))
        files = tuple(each)
    content = manifest.encode(files, {"formats": {"ONNX": FOLDERS[ModelFormat.ONNX]}})
    s3.put_object(Bucket=pod.BUCKET, Key=f"{case}/{manifest.NAME}", Body=content)
    return manifest.digest_of(content)


def measure(endpoint: str, case: str, digest: str, folder: Path, runtimes: Path) -> dict[str, float]:
    """One load, in a process of its own: seconds, CPU seconds, peak memory in MB."""
    request = {
        "uri": f"s3://{pod.BUCKET}/{case}",
        "digest": digest,
        "formats": ["ONNX"],
        "target": str(folder / "current"),
        "storage": {"endpoint": endpoint, "region": "us-east-1"},
    }
    variables = pod.inherited() | pod.environment({}, str(folder))
    variables["HEADRACE_LOAD"] = json.dumps(request)
    variables["PYTHONPATH"] = f"{runtimes / 'loader'}:{runtimes / 'common'}"
    began = time.perf_counter()
    # -P: of the checkout that is asked for, whatever lies in the current folder.
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-P", "-c", _LOADER]
        process = subprocess.Popen(command, env=variables, stderr=log, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        peak_kb = process.stdout.read()  # ends when the loader does
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"the loader ended with code {process.returncode}:\n{(folder / 'log').read_text()}")
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(int(peak_kb) * 1024 / 1e6, 1),
    }


def main() -> None:
    """Prints a line a case; with --json an object of all cases as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--large", type=int, default=3)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--small-bytes", type=int, default=4096)
    parser.add_argument("--delay-ms", default="0,10")
    parser.add_argument("--cases", default="large,small")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    loaders = {"": pod.ROOT / "runtimes"} | ({"before_": options.before.resolve()} if options.before else {})
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work, platform.store(Path(work), ports.free(1)[0]) as store:
        s3 = pod.s3(store)
        s3.create_bucket(Bucket=pod.BUCKET)
        for case in options.cases.split(","):
            digest = publish(s3, case, options)
            for delay in options.delay_ms.split(","):
                for prefix, runtimes in loaders.items():
                    way = Slow(store, float(delay) / 1000) if float(delay) else nullcontext()
                    with way as slow, tempfile.TemporaryDirectory() as folder:
                        endpoint = store if slow is None else slow.endpoint
                        taken = measure(endpoint, case, digest, Path(folder), runtimes)
                    name = f"{prefix}{case}_{delay}ms"
                    found |= {f"{name}_{what}": value for what, value in taken.items()}
                    print(f"{name}: {taken}", flush=True)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
