"""The command and the environment of the script's process: the contract with an adapter (README)."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from headrace_common.cgroup import Cgroup
from headrace_common.cpus import allowed_cpus, usable_cpus
from headrace_common.protocol.config import VARIABLE, Config, Scalar, Stage
from headrace_common.protocol.tables import KEY_VARIABLE
from headrace_trainer.launcher.datasets import streams
from headrace_trainer.launcher.frameworks import framework_of
from headrace_trainer.launcher.library_defaults import library_defaults
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.ready import PREVIOUS_STEPS, Ready
from headrace_trainer.launcher.settings import Paths, Settings
from headrace_trainer.launcher.spark import files
from headrace_trainer.launcher.tracking.mlflow import Run

# A ConfigMap's files cannot be executed: their first line names the interpreter, or else their suffix.
_INTERPRETERS = {".py": sys.executable, ".sh": "/bin/sh"}
_MOST_OF_A_LINE = 256
# What runs where there is no script, by the stage.
_PROGRAMS = {Stage.EVALUATE: "headrace_trainer.evaluation", Stage.TUNE: "headrace_trainer.tuning"}
# What each Python of a program without an adapter runs first.
_STARTUP = Path(__file__).parent / "startup"


def command(config: Config, adapter: str | None) -> list[str]:
    """How the script is started, by its adapter or by itself: each parameter as --name=value, texts as they are and
    everything else as JSON. Without an entrypoint it is the stage's own program.
    """
    if not config.entrypoint:
        return [sys.executable, "-m", _PROGRAMS[config.stage]]
    arguments = [f"--{name}={_text(value)}" for name, value in config.parameters.items()]
    script = config.source / config.entrypoint
    if adapter is not None:
        return [sys.executable, "-m", adapter, str(script), *arguments]
    return [*_interpreter(script), str(script), *arguments]


def environment(
    config: Config, settings: Settings, ready: Ready, run: Run | None, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What the script's process finds in its environment; `run` is None where there is none (yet)."""
    paths = settings.paths
    env = {name: value for name, value in inherited.items() if name not in (VARIABLE, KEY_VARIABLE)}
    env |= {
        "HEADRACE_PARAMETERS": json.dumps(config.parameters),
        "HEADRACE_SEED": str(_seed(config)),
        "HEADRACE_WORKERS": str(config.workers.count),
        "HEADRACE_WORKER_INDEX": str(settings.worker),
        "HEADRACE_STRATEGY": config.strategy,
        "HEADRACE_GPUS": str(config.gpus),
        "HEADRACE_FORMATS": ",".join(config.formats),
        "HEADRACE_STOP_SECONDS": str(settings.stop_seconds),
        "HEADRACE_OUTPUTS_DIR": str(paths.outputs),
        "HEADRACE_MESSAGES": str(paths.messages),
    }
    if paths.packages.is_dir():
        env["PYTHONPATH"] = _before(paths.packages, inherited.get("PYTHONPATH"))
        env["PATH"] = _before(paths.packages / "bin", inherited.get("PATH"))
    env |= _of_stage(config, paths)
    env |= {} if ready.streams is None else streams.environment(ready.streams)
    if config.workers.count > 1 and (divided := [one.name for one in config.datasets if one.shard is not None]):
        env["HEADRACE_SHARDED_DATASETS"] = ",".join(divided)
    if config.formats:
        env["HEADRACE_EXPORT_DIR"] = str(paths.export)
        env["HEADRACE_INPUT_EXAMPLE"] = "Rows" if config.keeps_rows else "None"
    if config.checkpoints is not None:
        env["HEADRACE_CHECKPOINT_DIR"] = str(paths.checkpoints)
        env["HEADRACE_CHECKPOINT_INTERVAL"] = str(config.checkpoints.interval)
        env["HEADRACE_REPLAY_SECONDS"] = str(config.checkpoints.replay)
    if ready.resume is not None:
        env["HEADRACE_RESUME_DIR"] = str(paths.resume)
        env["HEADRACE_RESUME_STEP"] = str(ready.resume.step)
        if (paths.trace / PREVIOUS_STEPS).exists():
            env["HEADRACE_PREVIOUS_STEPS"] = str(paths.trace / PREVIOUS_STEPS)
    framework = framework_of(config)
    if config.workers.count > 1:
        env |= framework.rendezvous(config.workers, settings.worker)
    for_mlflow = _for_mlflow(config, settings, run, inherited)
    if framework.adapter is None and "MLFLOW_RUN_ID" in for_mlflow:
        env["PYTHONPATH"] = _before(_STARTUP, env.get("PYTHONPATH"))
    return _for_libraries(settings, inherited) | for_mlflow | env


def _of_stage(config: Config, paths: Paths) -> dict[str, str]:
    """What the script of a preparation finds and leaves, and that of an evaluation."""
    env: dict[str, str] = {}
    if (prepare := config.prepare) is not None:
        env["HEADRACE_DATASET_DIR"] = str(paths.prepared)
        if prepare.spark is not None:
            env |= files.environment(config, prepare.spark, files.Layout.of(paths))
        if prepare.tables is not None:
            env["HEADRACE_TABLES_DIR"] = str(paths.tables)
    if config.tuning is not None:
        env["HEADRACE_TUNING"] = str(paths.tuning)
    if (evaluate := config.evaluate) is not None:
        env["HEADRACE_MODEL_DIR"] = str(paths.model)
        if not config.entrypoint:
            env["HEADRACE_EVALUATION"] = str(paths.evaluation)
        if evaluate.baseline is not None:
            env["HEADRACE_BASELINE_DIR"] = str(paths.baseline)
    return env


def _for_libraries(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    cgroup = Cgroup(settings.paths.cgroup_membership, settings.paths.cgroup_root)
    return library_defaults(usable_cpus(cgroup), allowed_cpus(), inherited)


def _for_mlflow(config: Config, settings: Settings, run: Run | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """Where the script's own calls of mlflow go: into the job's run. Of several workers the chief alone logs, else each
    value would be there once a worker; what the others log goes to a folder of their pod. So does all that is logged in
    a job without tracking: mlflow's own default is a database in the script's working directory, which a resume puts
    back to what it was at the checkpoint while the script has it open.
    """
    if "MLFLOW_TRACKING_URI" in inherited:
        return {}
    if config.tracking is None or run is None:
        if config.tracking is not None and settings.worker == 0:
            log("MLflow is away: what the script itself logs there stays in its pod in this attempt")
        return {"MLFLOW_TRACKING_URI": settings.paths.unread_runs.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    env = {
        "MLFLOW_TRACKING_URI": config.tracking.url,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_RUN_ID": run.id,
    }
    # Artifacts go from the script's process to the store. One that is not AWS' own has its buckets in the path.
    if config.storage is not None and config.storage.endpoint:
        env |= {"MLFLOW_S3_ENDPOINT_URL": config.storage.endpoint, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path"}
    if config.storage is not None and config.storage.region and "AWS_DEFAULT_REGION" not in inherited:
        env["AWS_DEFAULT_REGION"] = config.storage.region
    return env


def _interpreter(script: Path) -> list[str]:
    """Python is the one of the launcher; else what the script's first line names, as a kernel reads it (#!)."""
    first = ""
    if os.access(script, os.R_OK):  # a program need not be readable
        with script.open("rb") as file:
            first = os.fsdecode(file.readline(_MOST_OF_A_LINE))
    if script.suffix != ".py" and first.startswith("#!") and first[2:].strip():
        return first[2:].strip().split(maxsplit=1)
    known = _INTERPRETERS.get(script.suffix)
    return [] if known is None else [known]


def _before(folder: Path, path: str | None) -> str:
    return os.pathsep.join(filter(None, [str(folder), path]))


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _seed(config: Config) -> int:
    """The same in every attempt and on every worker of a job: without it no resume could be exact. Of a preparation the
    same in every job: another one's dataset may be used in its place.
    """
    wanted = config.parameters.get("seed")
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return wanted
    of = config.job.uid if config.prepare is None else config.prepare.name
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:4], "big") >> 1
