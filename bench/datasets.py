"""What it takes to download a dataset of many small files, and how much memory.

    python bench/datasets.py [--files=2000] [--bytes=4096] [--at-once=1,16] [--delay-ms=0,10] [--json]

From versitygw on the same machine, by the launcher's own code in a process of its own, digest included. With a delay a
proxy in front of the store keeps each of its answers back for so long, as a network would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pod

from headrace_local import platform, ports

_DOWNLOAD = """
import json, resource, sys, time
from pathlib import Path
from headrace_common.protocol.config import Dataset
from headrace_common.protocol.storage import Storage
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.store.digests import digest
from headrace_trainer.launcher.store.s3 import Store
endpoint, uri, path, at_once = sys.argv[1:]
dataset = Dataset("images", uri, Path(path))
origin = origin_of(dataset, Store(Storage(endpoint, "us-east-1")), 60.0)
began = time.perf_counter()
objects = origin.objects(dataset)
listed = time.perf_counter()
download(dataset, objects, origin, int(at_once))
fetched = time.perf_counter()
found = digest(dataset.path)
print(json.dumps({
    "list": listed - began, "fetch": fetched - listed, "digest": time.perf_counter() - fetched, "sha256": found,
    "cpu": time.process_time(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
}))
"""


class Slow(AbstractContextManager["Slow"]):
    """In front of a server: what it answers comes so many seconds later, as over a network. Connections are not."""

    def __init__(self, server: str, seconds: float) -> None:
        self._host, _, port = server.removeprefix("http://").partition(":")
        self._port, self._seconds = int(port), seconds
        self._loop = asyncio.new_event_loop()
        listening = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(self._host, self._port)
        with suppress(ConnectionError):
            await asyncio.gather(self._pass_on(reader, requests, 0.0), self._pass_on(answers, writer, self._seconds))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
        while data := await source.read(1 << 16):
            await asyncio.sleep(seconds)
            sink.write(data)
            await sink.drain()
        sink.close()


def measure(endpoint: str, at_once: int, folder: Path) -> dict[str, float]:
    """One download, in a process of its own."""
    command = [sys.executable, "-c", _DOWNLOAD, endpoint, f"s3://{pod.BUCKET}/images/", str(folder), str(at_once)]
    variables = pod.inherited() | pod.environment({}, str(folder))
    ended = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def main() -> None:
    """Prints a line a case, or with --json an object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--at-once", default="1,16")
    parser.add_argument("--delay-ms", default="0,10")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        with platform.store(folder, ports.free(1)[0]) as store:
            s3 = pod.s3(store)
            s3.create_bucket(Bucket=pod.BUCKET)
            with ThreadPoolExecutor(8) as pool:
                names = (f"images/{number // 100:03d}/{number:06d}.bin" for number in range(options.files))
                list(
                    pool.map(
                        lambda key: s3.put_object(Bucket=pod.BUCKET, Key=key, Body=os.urandom(options.bytes)), names
                    )
                )
            for delay in map(float, options.delay_ms.split(",")):
                for at_once in map(int, options.at_once.split(",")):
                    with Slow(store, delay / 1000) as slow:
                        endpoint = slow.endpoint if delay else store
                        found = measure(endpoint, at_once, folder / f"{delay}-{at_once}")
                    case = {"files": options.files, "bytes": options.bytes, "delay_ms": delay, "at_once": at_once}
                    if options.json:
                        print(json.dumps(case | found), flush=True)
                    else:
                        print(
                            f"{options.files} files of {options.bytes} bytes, answers {delay:g} ms late, {at_once} at "
                            f"once: {found['fetch']:.2f} s (list {found['list']:.2f} s, digest {found['digest']:.2f} "
                            f"s), {found['cpu']:.2f} s CPU, peak {found['peak'] / 1e6:.0f} MB",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
