"""What is declared of tables is done by a process of its own, `headrace_trainer.tables`, before the script: its command
and environment, how its end is judged, and what has to be gone when the script starts.

It runs with the image's packages alone, not with those of requirements.txt: what hides private data is not a matter of
the script's source.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from headrace_common.cgroup import Cgroup
from headrace_common.cpus import allowed_cpus, usable_cpus
from headrace_common.protocol.config import VARIABLE, Config
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import KEY_VARIABLE, LEAST_KEY_BYTES, Tables
from headrace_trainer.launcher.datasets.objects import address_of
from headrace_trainer.launcher.failures.judge import ChildEnd, Failed, Failure, bad_config, judge
from headrace_trainer.launcher.library_defaults import library_defaults
from headrace_trainer.launcher.settings import Settings

_ASKED = "HEADRACE_TABLES"
_REASONS = {
    str(reason): reason
    for reason in (
        Reason.TABLE_UNREADABLE,
        Reason.SCHEMA_VIOLATED,
        Reason.COLUMN_NOT_FOUND,
        Reason.COLUMN_UNUSABLE,
        Reason.PRIVATE_DATA_FOUND,
        Reason.SPLIT_EMPTY,
        Reason.SPLIT_LEAKS,
        Reason.PACKAGE_MISSING,
    )
}


def are_all(config: Config) -> bool:
    """Whether no script follows what is declared of tables."""
    return config.prepare is not None and not config.entrypoint


def command() -> list[str]:
    """How the process is started. Without the working directory on its import path (-P): a script's files of an earlier
    attempt may lie there.
    """
    return [sys.executable, "-P", "-m", "headrace_trainer.tables"]


def environment(config: Config, tables: Tables, settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What it finds: the pod's environment with the masking key, and what it is to do. Where a script goes on with it,
    what came of it lies in a folder for that; else it is the dataset.
    """
    paths = settings.paths
    dataset = next(one for one in config.datasets if one.name == tables.dataset)
    asked = {
        "tables": tables.as_json(),
        "dataset": str(dataset.path),
        "name": PurePosixPath(address_of(dataset)).name,
        "target": str(paths.tables if config.entrypoint else paths.prepared),
    }
    cgroup = Cgroup(paths.cgroup_membership, paths.cgroup_root)
    defaults = library_defaults(usable_cpus(cgroup), allowed_cpus(), inherited)
    env = {name: value for name, value in inherited.items() if name != VARIABLE}
    return defaults | env | {_ASKED: json.dumps(asked)}


def fingerprint(config: Config, env: Mapping[str, str]) -> str:
    """Of the masking key, of which it says nothing; empty where there is none to be had. Raises Failed (BadConfig)
    where the Secret has none that is of use.
    """
    tables = None if config.prepare is None else config.prepare.tables
    if tables is None or not tables.is_keyed:
        return ""
    key = os.fsencode(env.get(KEY_VARIABLE, ""))
    if len(key) < LEAST_KEY_BYTES:
        raise Failed(
            bad_config(
                f"prepare.tables.privacy: the masking key has {len(key)} bytes, and needs {LEAST_KEY_BYTES}",
                "Put a longer one into the Secret of spec.prepare.tables.privacy.keySecretRef, such as that of "
                "`openssl rand -hex 32`, and create a new TrainingJob.",
            )
        )
    return hmac.new(key, b"fingerprint of a masking key", hashlib.sha256).hexdigest()


def failure(end: ChildEnd) -> Failure | None:
    """Why the process has not done what is declared; None where it has."""
    if end.memory_kill is not None:
        return Failure(
            Reason.OUT_OF_MEMORY,
            f"what is declared in prepare.tables was killed for memory: {end.memory_kill}",
            "Raise spec.resources.limits.memory: a table is held in memory as a whole (docs/how-to/prepare-data.md).",
        )
    if end.refused is not None and end.refused.reason in _REASONS:
        return Failure(_REASONS[end.refused.reason], end.refused.message, end.refused.hint)
    if end.refused is not None:
        return bad_config(f"prepare.tables: {end.refused.message}", end.refused.hint)
    if end.exit_code > 0:
        return Failure(
            Reason.LAUNCHER_FAILED,
            f"what is declared in prepare.tables failed, with exit code {end.exit_code}",
            "This is a fault of Headrace, or of the data that it did not foresee: please report the end of the pod's "
            "log. Where the memory did not suffice, it says so: raise spec.resources.limits.memory.",
        )
    other = judge(end)
    return None if other is None else replace(other, message=f"prepare.tables: {other.message}")


def finish(config: Config, tables: Tables, settings: Settings) -> None:
    """Its report becomes an artifact of the run; and the script does not find what private columns were taken from. A
    volume is not ours to delete from, and is read-only: the link to it goes.
    """
    made = settings.paths.tables if config.entrypoint else settings.paths.prepared
    shutil.copy(made / "report.json", settings.paths.outputs / "tables.json")
    if config.entrypoint and tables.privacy is not None and tables.privacy.actions:
        dataset = next(one for one in config.datasets if one.name == tables.dataset)
        if dataset.mount is not None:
            dataset.path.unlink()
        else:
            _remove(dataset.path / tables.path if tables.path else dataset.path)


def _remove(path: Path) -> None:
    """The datasets were made read-only; the folder that they all lie in is the pod's, and was not."""
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)
    if not os.access(path.parent, os.W_OK):
        os.chmod(path.parent, 0o755)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
