"""What checkpoints, tracking and progress cost a training, counted: the CPU time of all that the launcher adds to it.

Two processes that do the same differ by some per cent here, for as long as they live: a comparison of a training with
and without the launcher (training_time.py) says nothing about one per cent. So one training is looked at, and summed up
is the CPU time of the launcher, of the threads that it has in the script's process, and of what it does in the thread
that trains: all methods of the callback that follows `fit`, and what is kept at its end. What is not in the sum: the
caches that a second process spoils, and what servers take from the machine.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import pod
import training_time

ASK_SECONDS = 5.0  # as the operator
LOOK_SECONDS = 0.2

# Before training_time.TIMED. A method that calls another one is counted once; what it costs to count is in the sum.
COUNTED = """
import functools, json, os, threading, time, types
import keras
from headrace_trainer.adapters.keras.fits.fit import Fits
from headrace_trainer.adapters.keras.fits.recorder import Recorder
hooks, inside = 0, False
def counted(method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        global hooks, inside
        if inside or threading.current_thread() is not threading.main_thread():
            return method(*args, **kwargs)
        inside, began = True, time.thread_time_ns()
        try:
            return method(*args, **kwargs)
        finally:
            hooks += time.thread_time_ns() - began
            inside = False
    return call
for name, method in list(vars(Recorder).items()):
    if isinstance(method, types.FunctionType) and not name.startswith("_"):
        setattr(Recorder, name, counted(method))
for name in ("_next_run", "_keep_end", "_tell_models"):
    setattr(Fits, name, counted(getattr(Fits, name)))
def seconds_of_threads():
    names = [f"/proc/self/task/{one.native_id}/schedstat" for one in threading.enumerate() if "headrace" in one.name]
    return sum(int(open(name).read().split()[0]) for name in names) / 1e9
followed_fit = keras.Model.fit
def fit_counted(*args, **kwargs):
    before = seconds_of_threads()
    try:
        return followed_fit(*args, **kwargs)
    finally:
        with open(os.environ["BENCH_RESULT"] + ".counted", "w") as file:
            json.dump({"threads": seconds_of_threads() - before, "hooks": hooks / 1e9}, file)
keras.Model.fit = fit_counted
"""


@dataclass(frozen=True)
class Cost:
    """Of one `fit`, in seconds of CPU; `script` is all of the script's process."""

    script: float
    launcher: float
    threads: float
    hooks: float

    @property
    def fraction(self) -> float:
        """Of what the training would take without it."""
        return (self.launcher + self.threads + self.hooks) / (self.script - self.threads - self.hooks)


def count(bench: training_time.Bench, interval: float) -> dict[str, Any]:
    """The result, as it is printed."""
    (bench.directory / "timed.py").write_text(COUNTED + training_time.TIMED)
    uid = "uid-counted"
    with tempfile.TemporaryDirectory(dir=bench.directory) as work:
        training = bench.launched(uid, interval, work)
        cost = _watch(training)
    (bench.directory / "timed.py").write_text(training_time.TIMED)  # as it was
    result = {
        "counted_fraction": round(cost.fraction, 4),
        "script_cpu_seconds": round(cost.script, 2),
        "launcher_cpu_seconds": round(cost.launcher, 2),
        "threads_cpu_seconds": round(cost.threads, 3),
        "hooks_cpu_seconds": round(cost.hooks, 3),
        "checkpoints": bench.checkpoints(uid),
        "metrics": bench.metrics(uid),
        "checkpoint_interval_seconds": interval,
        "epochs": bench.epochs,
    }
    print(f"counted: {result}", flush=True)
    return result


def _watch(training: training_time.Training) -> Cost:
    runner = training.runner
    while runner.runs and not runner.mark.exists():
        time.sleep(LOOK_SECONDS)
    begin = last = pod.cpu_seconds(runner.process.pid, 0.0)
    asked = 0.0
    while runner.runs and not training.result.exists():
        last = pod.cpu_seconds(runner.process.pid, last)
        if time.monotonic() - asked > ASK_SECONDS:
            asked = time.monotonic()
            runner.each_turn()
        time.sleep(LOOK_SECONDS)
    training.timing()  # waits for its end
    counted = json.loads(training.result.with_name(training.result.name + ".counted").read_text())
    script = json.loads(training.result.read_text())["cpu"]
    return Cost(script, last - begin, counted["threads"], counted["hooks"])
