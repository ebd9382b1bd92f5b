"""What a checkpoint of a large model costs: how long a step is blocked by it, and what memory it takes.

A dense model of so many bytes of weights is trained twice, by plain Python and by `python -m headrace_trainer` as in a
pod, with checkpoints uploaded to a real S3 store. Blocked is the time that the thread that trains spends in taking a
checkpoint; the longest of all counts. Its own CPU time is told beside: on busy cores it waits for its turn. Memory is
what the script's process and the launcher have at their peak together (RssAnon of proc(5), 20 times a second) above
the peak of plain Python, divided by the size of the state (the weights and the optimizer's variables): 1 is a single
copy of it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pod

# The clocks lie around what is measured, outside of the product. Told are seconds.
SCRIPT = """
import json, os, sys, time
import numpy as np
import keras

options = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])
width, layers, seconds = int(options["width"]), int(options["layers"]), float(options["seconds"])
taken, cpu, steps = [], [], []
try:
    from headrace_trainer.adapters.keras.fits.recorder import Recorder
except ImportError:
    pass  # plain Python
else:
    take = Recorder._take
    def clocked(*arguments):
        began, worked = time.perf_counter(), time.thread_time()
        take(*arguments)
        taken.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - worked)
    Recorder._take = clocked

class Clock(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        now = time.perf_counter()
        steps.append(now)
        if now - steps[0] > seconds and len(steps) > 6:
            self.model.stop_training = True

model = keras.Sequential([keras.Input([width]), *(keras.layers.Dense(width, "tanh") for _ in range(layers))])
model.compile(options["optimizer"], "mse")
class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 10000
    def __getitem__(self, index):
        return np.full([8, width], 1e-3 * (index % 7), "float32"), np.zeros([8, width], "float32")
model.fit(Batches(), verbose=0, callbacks=[Clock()])
state = sum(v.value.dtype.size * int(np.prod(v.shape)) for v in [*model.variables, *model.optimizer.variables])
with open(os.environ["BENCH_RESULT"], "w") as file:
    json.dump({"taken": taken, "cpu": cpu, "steps": [b - a for a, b in zip(steps, steps[1:])], "state": state}, file)
"""


@dataclass(frozen=True)
class Case:
    """A model: `layers` dense ones of `width` squared weights each."""

    name: str
    layers: int
    width: int
    optimizer: str

    @property
    def parameters(self) -> dict[str, Any]:
        return {"layers": self.layers, "width": self.width, "optimizer": self.optimizer}


CASES = (
    Case("1gb_weights_sgd", 4, 8192, "sgd"),
    Case("1gb_state_adam", 5, 4096, "adam"),
    Case("1gb_weights_adam", 4, 8192, "adam"),  # 3 GB of state
)


class Memory:
    """The peak of what processes of their own have, in bytes, while the block runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak = 0
        self._process = process
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _watch(self) -> None:
        while self._process.poll() is None:
            self.peak = max(self.peak, sum(_anonymous_bytes(pid) for pid in pod.family(self._process.pid)))
            time.sleep(0.05)


def _anonymous_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


@dataclass(frozen=True)
class Run:
    """What one run told: seconds of each step and of each checkpoint taken; bytes."""

    taken: list[float]
    cpu: list[float]
    steps: list[float]
    state: int
    peak: int
    stored: int = 0


def compare(case: Case, run: Callable[[Case, bool], Run]) -> dict[str, Any]:
    """One case's figures, as they are printed; `run` is told whether the launcher trains."""
    plain, launched = run(case, False), run(case, True)
    if not launched.taken or not launched.stored:
        raise SystemExit(f"{case.name}: no checkpoint was kept")
    return {
        "state_bytes": launched.state,
        "step_seconds": round(statistics.median(plain.steps), 3),
        "blocked_seconds": [round(seconds, 3) for seconds in launched.taken],
        "blocked_cpu_seconds": [round(seconds, 3) for seconds in launched.cpu],
        "longest_step_seconds": round(max(launched.steps[2:]), 3),
        "plain_longest_step_seconds": round(max(plain.steps[2:]), 3),
        "memory_ratio": round((launched.peak - plain.peak) / launched.state, 2),
        "checkpoints": launched.stored,
    }


def read(result: Path, peak: int, stored: int) -> Run:
    """What the script has told in the end."""
    told = json.loads(result.read_text())
    return Run(told["taken"], told["cpu"], told["steps"], told["state"], peak, stored)
