"""Keras on TensorFlow: the adapter runs the script and follows `fit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from headrace_trainer.launcher.config import Workers
from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.tf_config import tf_config


def _command(adapter: str, script: Path) -> Sequence[str]:
    return [sys.executable, "-m", adapter, str(script)]


def _rendezvous(workers: Workers, index: int) -> dict[str, str]:
    return {"TF_CONFIG": tf_config(workers, index)}


KERAS = Framework(
    name="Keras",
    command=_command,
    has_pipe=False,
    must_train=True,
    how_to_hand_over="it was not exported",
    rendezvous=_rendezvous,
)
