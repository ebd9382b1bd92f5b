"""What checkpoints and tracking cost a training: the text generator trained with Headrace's hooks and without, in
pairs.

    python bench/checkpoint.py [--pairs=3] [--epochs=2] [--json]

A pair is two runs of examples/text-generator/train.py right after each other, in changing order: one by plain Python,
one by `python -m headrace_trainer.child` with checkpoints (at least five), all messages read from the pipe. Compared
is the time inside of `fit`. The result is the median over the pairs; CPU time is given as well, which other loads on
the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "text-generator"
CHECKPOINTS = 5
LIMIT_SECONDS = 1800

# Runs the script given as its first argument with a clock around `fit`, outside of whatever is around it already.
TIMED = """
import os, runpy, sys, time
import keras
plain_fit = keras.Model.fit
def fit(*args, **kwargs):
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        return plain_fit(*args, **kwargs)
    finally:
        with open(os.environ["BENCH_RESULT"], "w") as file:
            file.write(f"{time.perf_counter() - wall} {time.process_time() - cpu}")
keras.Model.fit = fit
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@dataclass(frozen=True)
class Timing:
    """One run: seconds inside of `fit`, and how many checkpoints and messages it made."""

    wall: float
    cpu: float
    checkpoints: int = 0
    messages: int = 0


def run(directory: Path, epochs: int, checkpoint_seconds: float | None) -> Timing:
    """Trains once; `checkpoint_seconds` None is plain Python."""
    result = directory / "seconds"
    environment = {**os.environ, "BENCH_RESULT": str(result), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "0"}
    script = [str(directory / "timed.py"), str(EXAMPLE / "train.py")]
    arguments = [f"--data={directory / 'corpus.npz'}", f"--epochs={epochs}"]
    if checkpoint_seconds is None:
        output = directory / "plain.log"
        _finish(_start([sys.executable, *script, *arguments], environment, output), output)
        return _timing(result, [])
    receive, send = os.pipe()
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "runtimes" / "trainer"), os.environ.get("PYTHONPATH")])),
        "HEADRACE_CHILD_FD": str(send),
        "HEADRACE_CHECKPOINT_INTERVAL": str(checkpoint_seconds),
    }
    messages: list[str] = []
    with tempfile.TemporaryDirectory(dir=directory) as checkpoints, os.fdopen(receive) as pipe:
        environment["HEADRACE_CHECKPOINT_DIR"] = checkpoints
        command = [sys.executable, "-m", "headrace_trainer.child", *script, *arguments]
        output = directory / "hooked.log"
        process = _start(command, environment, output, send)
        os.close(send)
        reader = threading.Thread(target=lambda: messages.extend(json.loads(line)["type"] for line in pipe))
        reader.start()
        _finish(process, output)
        reader.join()
    return _timing(result, messages)


def _start(command: list[str], environment: dict[str, str], output: Path, *descriptors: int) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
        )


def _timing(result: Path, messages: list[str]) -> Timing:
    wall, cpu = map(float, result.read_text().split())
    return Timing(wall, cpu, messages.count("checkpoint"), len(messages))


def _finish(process: subprocess.Popen[bytes], output: Path) -> None:
    try:
        code = process.wait(LIMIT_SECONDS)
    finally:
        process.kill()
    if code != 0:
        raise SystemExit(f"the training ended with code {code}:\n{output.read_text(errors='replace')[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "timed.py").write_text(TIMED)
        prepare = [sys.executable, str(EXAMPLE / "prepare.py"), f"--output={directory / 'corpus.npz'}"]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        # Not counted: it fills caches, and tells how often to save.
        warm_up = run(directory, arguments.epochs, None)
        interval = warm_up.wall / (CHECKPOINTS + 2)
        wall, cpu, hooked = [], [], warm_up
        for pair in range(arguments.pairs):
            order = (None, interval) if pair % 2 else (interval, None)
            timings = {seconds: run(directory, arguments.epochs, seconds) for seconds in order}
            plain, hooked = timings[None], timings[interval]
            wall.append(hooked.wall / plain.wall - 1)
            cpu.append(hooked.cpu / plain.cpu - 1)
            print(
                f"pair {pair + 1}: plain {plain.wall:.2f} s ({plain.cpu:.2f} s CPU), hooked {hooked.wall:.2f} s "
                f"({hooked.cpu:.2f} s CPU), {hooked.checkpoints} checkpoints, {hooked.messages} messages",
                flush=True,
            )
            if hooked.checkpoints < CHECKPOINTS:
                raise SystemExit(f"{hooked.checkpoints} checkpoints are too few to compare: train for more --epochs")
    result = {
        "overhead_fraction": round(statistics.median(wall), 4),
        "overhead_fraction_of_pairs": [round(value, 4) for value in wall],
        "cpu_overhead_fraction": round(statistics.median(cpu), 4),
        "checkpoints": hooked.checkpoints,
        "messages": hooked.messages,
        "pairs": arguments.pairs,
        "epochs": arguments.epochs,
    }
    print(json.dumps(result) if arguments.json else result)


if __name__ == "__main__":
    main()
