"""Trains with a script three times: undisturbed, killed in mid-training, and gone on with from its last checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from forking import Interpreter
from script_process import Message, RunningChild
from trainer_support import CLIENT, TRAINER

HERE = Path(__file__).resolve().parent
FORMATS = "TensorFlow,ONNX"


@dataclass(frozen=True)
class Training:
    """What came of one run. `answers` is what own_answers.py has kept, None where nothing was to be exported."""

    folder: Path
    exit_code: int
    messages: list[Message]
    log: str
    answers: dict[str, Any] | None
    seconds: float

    def of_type(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def formats(self) -> list[str]:
        return [name for message in self.of_type("exported") for name in message["formats"]]

    @property
    def weights(self) -> list[Any]:
        """Of the model that is meant, or of all that could be."""
        kept = self.folder / "weights.npz"
        if not kept.is_file():
            return []
        with np.load(kept) as arrays:
            return [arrays[name] for name in arrays.files]

    @property
    def metrics(self) -> dict[tuple[int, int], dict[str, float]]:
        """Those of each epoch, by fit and epoch."""
        return {(message["fit"], message["epoch"]): message["metrics"] for message in self.of_type("epoch")}


def undisturbed(script: Path, folder: Path, interpreter: Interpreter) -> Training:
    """Trains to the end, and exports nothing."""
    begun = time.monotonic()
    child = _start(script, folder, interpreter, {"ONLY_ANSWERS": "1"})
    try:
        return _ended(child, folder, begun)
    finally:
        child.close()


def killed_and_gone_on_with(script: Path, folder: Path, interpreter: Interpreter, whole: Training) -> Training:
    """Killed when half of the epochs that `whole` took have ended, or of the steps where it has none, and a checkpoint
    is there; where a script saves nothing, after half of its time. The second attempt exports.
    """
    kind = "epoch" if whole.of_type("epoch") else "step"
    half, saves = len(whole.of_type(kind)) // 2, bool(whole.of_type("checkpoint"))
    checkpoints = folder / "checkpoints-1"
    settings = {"HEADRACE_CHECKPOINT_DIR": str(checkpoints)}
    first = _start(script, folder / "first", interpreter, settings, in_step=saves)
    try:
        if saves:
            first.wait_until(lambda messages: _has_come_to(half, kind, messages))
        else:
            time.sleep(whole.seconds / 2)
        first.signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL, "it ended before it was killed"
    finally:
        first.close()
    newest = max(checkpoints.glob("ckpt-*"), default=None)
    begun = time.monotonic()
    settings = {"HEADRACE_CHECKPOINT_DIR": str(folder / "checkpoints-2")}
    if newest is not None:
        settings["HEADRACE_RESUME_DIR"] = str(newest)
    second = _start(script, folder / "second", interpreter, settings)
    try:
        training = _ended(second, folder / "second", begun)
    finally:
        second.close()
    return dataclasses.replace(training, messages=[*first.messages, *training.messages])


def _has_come_to(count: int, kind: str, messages: list[Message]) -> bool:
    kinds = [message["type"] for message in messages]
    return "checkpoint" in kinds and kinds.count(kind) >= max(1, count)


def _start(
    script: Path, folder: Path, interpreter: Interpreter, more: dict[str, str], *, in_step: bool = False
) -> RunningChild:
    settings = {
        "PYTHONPATH": os.pathsep.join(map(str, (TRAINER, CLIENT, HERE))),
        "HEADRACE_EXPORT_DIR": str(folder / "model"),
        "HEADRACE_FORMATS": FORMATS,
        "HEADRACE_SEED": "5",
        "HEADRACE_CHECKPOINT_INTERVAL": "0.1",
        "HEADRACE_CHECKPOINT_DIR": str(folder / "checkpoints"),
        # As where MLflow is away: what the script logs there goes to a folder outside of its own.
        "MLFLOW_TRACKING_URI": (folder / "runs").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        **more,
    }
    return RunningChild(script, (), folder / "work", settings, interpreter, "own_answers", in_step=in_step)


def _ended(child: RunningChild, folder: Path, begun: float) -> Training:
    code = child.wait()
    kept = folder / "answers.json"
    answers = json.loads(kept.read_text()) if kept.is_file() else None
    return Training(folder, code, child.messages, child.stdout + child.stderr, answers, time.monotonic() - begun)
