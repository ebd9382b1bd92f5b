"""What the export of a large model costs: seconds, and the memory at its peak.

    python bench/export.py [--mib=256] [--formats=TensorFlow,ONNX,Keras] [--json]

A process a format builds a model of so many MiB of weights (an embedding of a quarter, and dense layers of 16 MiB), and
exports it as the trainer does at a script's end: written, loaded again, compared with Keras on eight rows. Memory is
what that process has to itself (RssAnon of proc(5), 20 times a second) above what it had before the model was built,
divided by the size of the weights: the model itself is 1. No optimizer is in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 1800
WIDTH = 2048
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=256, help="of weights, at least 64")
    parser.add_argument("--formats", default="TensorFlow,ONNX")
    parser.add_argument("--json", action="store_true", help="only the result, in one line")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.mib)))
        return
    found: dict[str, Any] = {"mib": options.mib}
    for name in options.formats.split(","):
        command = [sys.executable, __file__, f"--one={name}", f"--mib={options.mib}"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=LIMIT_SECONDS, check=True)
        found[name] = json.loads(ended.stdout.splitlines()[-1])
        if not options.json:
            print(f"{name}: {found[name]}", flush=True)
    if options.json:
        print(json.dumps(found))


def measure(name: str, mib: int) -> dict[str, Any]:
    """One format's figures; raises what the export raises."""
    import numpy as np
    import tensorflow as tf

    from headrace_common.formats import ModelFormat
    from headrace_trainer.adapters.keras.export import formats
    from headrace_trainer.adapters.keras.export.servable import servable
    from headrace_trainer.adapters.keras.models import weights
    from headrace_trainer.adapters.models import Trained

    rows = np.arange(80).reshape(8, 10)
    with Peak() as before:
        time.sleep(0.2)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Peak() as peak:
        model = build(mib)
        size = weights.bytes_of(model)
        began = time.perf_counter()
        made = servable(Trained(model, tf.TensorSpec((None, 10), tf.int64), lambda: rows))
        formats.write(made, ModelFormat(name), Path(folder) / "model")
        seconds = time.perf_counter() - began
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "weights_bytes": size,
        "written_bytes": written,
        "seconds": round(seconds, 1),
        "memory_ratio": round((peak.bytes - before.bytes) / size, 2),
    }


def build(mib: int) -> Any:
    """A model of so many MiB, which is not trained."""
    import keras

    embedding = mib // 4 * MIB // 4 // WIDTH
    dense = (mib - mib // 4) * MIB // 4 // WIDTH**2
    tokens = keras.Input((None,), dtype="int64", name="tokens")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(embedding, WIDTH)(tokens))
    for _ in range(dense):
        x = keras.layers.Dense(WIDTH, "tanh")(x)
    return keras.Model(tokens, keras.layers.Dense(4, name="scores")(x))


class Peak:
    """The most that this process has to itself while the block runs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            has = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
            self.bytes = max(self.bytes, has)


if __name__ == "__main__":
    main()
