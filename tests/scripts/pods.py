"""Runs a program three times in a pod of the real launcher: undisturbed, killed in mid-training, and once more."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from trainer_support import S3, TRAINER, Launched

HERE = Path(__file__).resolve().parent
CLIENT = TRAINER.parent / "client"
SECONDS = 300
# Of the computing time of the undisturbed run: what it imports takes the first of it, what it exports the last.
KILLED_AFTER = 0.7


@dataclass(frozen=True)
class Pod:
    """A program, and what it is asked where it hands its model over."""

    program: Path
    questions: dict[str, dict[str, str]]
    config: dict[str, Any]
    launch: Callable[..., Launched]
    answers_file: Path
    adapter: str = "standin_adapter"

    @property
    def answers(self) -> dict[str, Any]:
        """Of the run before."""
        return json.loads(self.answers_file.read_text())

    def undisturbed(self) -> tuple[Launched, float]:
        """With the computing time that it took, in seconds."""
        launched, spent = self._start("whole", 1), 0.0
        while launched.process.poll() is None:
            spent = max(spent, computing_time(launched))
            time.sleep(0.05)
        return launched, spent

    def killed(self, seconds: float, saves: bool) -> Launched:
        """The program, not its launcher, is killed in the course of the computing time that it takes undisturbed; where
        it keeps checkpoints, when one is complete.
        """
        launched, deadline = self._start("job", 1), time.monotonic() + SECONDS
        while computing_time(launched) < seconds * KILLED_AFTER or (saves and "checkpoint" not in record_of(launched)):
            assert launched.process.poll() is None, f"it ended before it was killed: {launched.log[-3000:]}"
            assert time.monotonic() < deadline, "it did not get to where it is killed"
            time.sleep(0.02)
        assert "model" not in record_of(launched)
        for process in programs(launched):
            process.kill()
        launched.wait(SECONDS)
        return launched

    def once_more(self) -> Launched:
        launched = self._start("job", 2)
        launched.wait(SECONDS)
        return launched

    def _start(self, uid: str, attempt: int) -> Launched:
        self.answers_file.unlink(missing_ok=True)
        entrypoint = HERE / "answering.py" if self.questions else self.program
        return self.launch(
            entrypoint.read_text(),
            entrypoint=entrypoint.name,
            files={self.program.name: self.program.read_bytes()},
            config=self.config,
            uid=uid,
            attempt=attempt,
            adapter=self.adapter,
            env={
                # As in the image: a shell script's `python` is the one with the packages.
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join(map(str, (TRAINER, CLIENT, HERE))),
                "OMP_NUM_THREADS": "1",  # busy cores make XGBoost's and LightGBM's threads wait for one another
                "PROGRAM": self.program.name,
                "QUESTIONS": json.dumps(self.questions),
                "ANSWERS": str(self.answers_file),
            },
        )


def fetched(uri: str, bucket: str, s3: S3, folder: Path) -> Path:
    """The model's files as they are kept, in a folder."""
    prefix = uri.removeprefix(f"s3://{bucket}/")
    for key in s3.keys(bucket, prefix):
        path = folder / key.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get(bucket, key))
    return folder


def programs(launched: Launched) -> list[psutil.Process]:
    """The processes of the program. They are looked at often: psutil's own `children` reads all of the machine's."""
    found, parents = [], [launched.process.pid]
    while parents:
        children = children_of(parents.pop())
        parents += children
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(child))
    return found


def children_of(process: int) -> list[int]:
    """As the kernel keeps them, by the thread that started them: proc_pid_task(5)."""
    children = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return children


def record_of(launched: Launched) -> dict[str, Any]:
    """Empty before its first lines are written."""
    try:
        return launched.record
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def computing_time(launched: Launched) -> float:
    """Of the program and of those of its processes that have ended, in seconds."""
    spent = 0.0
    for process in programs(launched):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent
