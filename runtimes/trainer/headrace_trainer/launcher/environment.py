"""The command and the environment of the script's process: the contract of `headrace_trainer.child` (README)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping

from headrace_trainer.launcher.config import Config, Scalar
from headrace_trainer.launcher.prepare import PREVIOUS_STEPS, Ready
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.tf_config import tf_config


def command(config: Config, child_module: str) -> list[str]:
    """How the script is started: each parameter as --name=value, texts as they are and everything else as JSON."""
    arguments = [f"--{name}={_text(value)}" for name, value in config.parameters.items()]
    return [sys.executable, "-m", child_module, str(config.source / config.entrypoint), *arguments]


def environment(config: Config, settings: Settings, ready: Ready, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the script's process finds in its environment."""
    paths = settings.paths
    env = {name: value for name, value in inherited.items() if name != "HEADRACE_CONFIG"}
    env |= {
        "HEADRACE_PARAMETERS": json.dumps(config.parameters),
        "HEADRACE_SEED": str(_seed(config)),
        "HEADRACE_WORKERS": str(config.workers.count),
        "HEADRACE_WORKER_INDEX": str(settings.worker),
        "HEADRACE_FORMATS": ",".join(config.formats),
    }
    if config.formats:
        env["HEADRACE_EXPORT_DIR"] = str(paths.export)
    if config.checkpoints is not None:
        env["HEADRACE_CHECKPOINT_DIR"] = str(paths.checkpoints)
        env["HEADRACE_CHECKPOINT_INTERVAL"] = str(config.checkpoints.interval)
    if ready.resume is not None:
        env["HEADRACE_RESUME_DIR"] = str(paths.resume)
        if (paths.trace / PREVIOUS_STEPS).exists():
            env["HEADRACE_PREVIOUS_STEPS"] = str(paths.trace / PREVIOUS_STEPS)
    if config.workers.count > 1:
        env["TF_CONFIG"] = tf_config(config.workers, settings.worker)
    return env


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _seed(config: Config) -> int:
    """The same in every attempt and on every worker of a job: without it no resume could be exact."""
    wanted = config.parameters.get("seed")
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return wanted
    return int.from_bytes(hashlib.sha256(config.job.uid.encode()).digest()[:4], "big") >> 1
