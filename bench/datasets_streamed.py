"""What it takes to read a dataset once that is copied first, and one that is streamed.

    python bench/datasets_streamed.py [--files=16] [--mb=64] [--readers=1,4] [--json]

From versitygw on the same machine, by the launcher's own code in a process of its own and the client library in
another, as in a pod.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pod

from headrace_local import platform, ports

_LAUNCHER = """
import json, sys, time
from pathlib import Path
from headrace_common.protocol.config import Access, Dataset
from headrace_common.protocol.storage import Storage
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.streams import Streamed, Streams
from headrace_trainer.launcher.store.s3 import Store
endpoint, uri, path, is_streamed = sys.argv[1:]
dataset = Dataset("data", uri, Path(path), access=Access.STREAM)
origin = origin_of(dataset, Store(Storage(endpoint, "us-east-1")), 60.0)
objects = origin.objects(dataset)
streams = Streams()
began, cpu = time.perf_counter(), time.process_time()
if is_streamed == "yes":
    streams.serve(Streamed(dataset, objects, origin))
else:
    download(dataset, objects, origin)
print(json.dumps({"socket": str(streams.socket), "ready": time.perf_counter() - began}), flush=True)
sys.stdin.read()
print(json.dumps({"cpu": time.process_time() - cpu}))
"""
_READER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import headrace_client
from headrace_client import _datasets
folder, readers = sys.argv[1:]
files = headrace_client.open_dataset("data") if folder == "" else _datasets._files(_datasets.Path(folder))
def read(file):
    with file.open() as opened:
        return sum(len(data) for data in iter(lambda: opened.read(1 << 20), b""))
began, cpu = time.perf_counter(), time.process_time()
with ThreadPoolExecutor(int(readers)) as pool:
    size = sum(pool.map(read, files))
print(json.dumps({"read": time.perf_counter() - began, "cpu": time.process_time() - cpu, "bytes": size}))
"""
_CLIENT = Path(__file__).parents[1] / "runtimes/client"


def measure(endpoint: str, folder: Path, readers: int, *, is_streamed: bool) -> dict[str, float]:
    """Seconds until the script may begin, until it has read all, and of CPU of both processes."""
    variables = pod.inherited() | pod.environment({}, str(folder))
    command = [sys.executable, "-c", _LAUNCHER, endpoint, f"s3://{pod.BUCKET}/data/", str(folder / "data")]
    with subprocess.Popen(
        [*command, "yes" if is_streamed else "no"],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        begun = json.loads(launcher.stdout.readline())
        of_script = {"PYTHONPATH": str(_CLIENT), "HEADRACE_MESSAGES": "/dev/null", "HEADRACE_STREAMS": begun["socket"]}
        of_script |= {"HEADRACE_STREAMED_DATASETS": "data"}
        arguments = ["" if is_streamed else str(folder / "data"), str(readers)]
        read = subprocess.run(
            [sys.executable, "-c", _READER, *arguments],
            env=os.environ | of_script,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(read.stdout)
        launcher.stdin.close()
        cpu = json.loads(launcher.stdout.readline())["cpu"]
    return {"ready": begun["ready"], "read": found["read"], "cpu_launcher": cpu, "cpu_script": found["cpu"]}


def main() -> None:
    """Prints a line a case, or with --json an object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--mb", type=int, default=64)
    parser.add_argument("--readers", default="1,4")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, platform.store(Path(work), ports.free(1)[0]) as store:
        s3 = pod.s3(store)
        s3.create_bucket(Bucket=pod.BUCKET)
        for number in range(options.files):
            s3.put_object(Bucket=pod.BUCKET, Key=f"data/{number:03d}.bin", Body=os.urandom(options.mb << 20))
        for readers in map(int, options.readers.split(",")):
            for is_streamed in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    found = measure(store, Path(folder), readers, is_streamed=is_streamed)
                case = {"readers": readers, "streamed": is_streamed}
                print(json.dumps(case | found) if options.json else f"{case}: {found}", flush=True)


if __name__ == "__main__":
    main()
