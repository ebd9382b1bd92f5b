"""What the pod's environment says beside HEADRACE_CONFIG: folders, patience, the worker's index. Read once, here
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_common.cgroup import MEMBERSHIP, ROOT
from headrace_trainer.launcher.failures.judge import Failed, bad_config

_LEAST_INTERVAL = 0.1
_SCRIPT_SHARE = 0.6  # of the grace
RECORD_SECONDS = 1.0  # of the grace, for the record at the very end


@dataclass(frozen=True)
class Paths:
    """The folders of a pod. `work` is the script's working directory; the launcher's own scratch lies in a folder of
    it.
    """

    work: Path = Path("/headrace/work")
    termination_log: Path = Path("/dev/termination-log")
    cgroup_membership: Path = MEMBERSHIP
    cgroup_root: Path = ROOT
    proc: Path = Path("/proc")

    @property
    def scratch(self) -> Path:
        return self.work / ".headrace"

    @property
    def checkpoints(self) -> Path:
        return self.scratch / "checkpoints"

    @property
    def resume(self) -> Path:
        return self.scratch / "resume"

    @property
    def trace(self) -> Path:
        return self.scratch / "trace"

    @property
    def export(self) -> Path:
        return self.scratch / "export"

    @property
    def outputs(self) -> Path:
        """What the script leaves here becomes artifacts of the run."""
        return self.work / "outputs"

    @property
    def prepared(self) -> Path:
        """What the script of a preparation leaves here becomes the dataset."""
        return self.work / "prepared"

    @property
    def model(self) -> Path:
        """In an evaluation: the model that is judged."""
        return self.scratch / "model"

    @property
    def baseline(self) -> Path:
        """In an evaluation: the one that it is compared with."""
        return self.scratch / "baseline"

    @property
    def evaluation(self) -> Path:
        """What the process of an evaluation is told."""
        return self.scratch / "evaluation.json"

    @property
    def tuning(self) -> Path:
        """What the program of a tuning is told."""
        return self.scratch / "tuning.json"

    @property
    def results(self) -> Path:
        """What it leaves becomes artifacts of the run."""
        return self.scratch / "results"

    @property
    def tables(self) -> Path:
        """What came of what is declared of tables, where a script goes on with it."""
        return self.scratch / "tables"

    @property
    def messages(self) -> Path:
        """The pipe with a name."""
        return self.scratch / "messages"

    @property
    def packages(self) -> Path:
        """What requirements.txt names and the image lacks; it is there when it is complete."""
        return self.scratch / "packages"

    @property
    def packages_work(self) -> Path:
        """While they are installed: caches and lists."""
        return self.scratch / "packages-work"

    @property
    def spool(self) -> Path:
        return self.scratch / "metrics.jsonl"

    @property
    def system_spool(self) -> Path:
        return self.scratch / "system-metrics.jsonl"

    @property
    def unread_runs(self) -> Path:
        """Where a script's own runs go that are nobody's: of workers but the chief."""
        return self.scratch / "mlruns"


@dataclass(frozen=True)
class Settings:
    """`grace`, `outage`, `peer_hold`, `sample_interval` and `packages` are seconds.

    `outage` is how long S3 or MLflow may be away when there is nothing left to do but to wait for them. While the
    script trains both may be away for as long as it takes. `packages` bounds the installation of requirements.txt.
    """

    paths: Paths = Paths()
    worker: int = 0
    bind: str = ""
    grace: float = 25.0
    outage: float = 600.0
    peer_hold: float = 30.0
    sample_interval: float = 10.0
    packages: float = 600.0

    @property
    def stop_seconds(self) -> float:
        """Of the grace, the script's process has so many to save what it has and to end."""
        return _SCRIPT_SHARE * self.grace

    @property
    def keep_seconds(self) -> float:
        """What is left of the grace for the upload of what the script has saved."""
        return max(0.0, self.grace - self.stop_seconds - RECORD_SECONDS)

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> Settings:
        """Raises Failed (BadConfig) that names the variable."""
        defaults = Settings()
        paths = Paths(
            work=Path(env.get("HEADRACE_WORK_DIR") or defaults.paths.work),
            termination_log=Path(env.get("HEADRACE_TERMINATION_LOG") or defaults.paths.termination_log),
        )
        return Settings(
            paths=paths,
            worker=int(_number(env, "JOB_COMPLETION_INDEX", defaults.worker)),
            bind=env.get("HEADRACE_BIND", defaults.bind),
            grace=_number(env, "HEADRACE_GRACE_SECONDS", defaults.grace),
            outage=_number(env, "HEADRACE_OUTAGE_SECONDS", defaults.outage),
            peer_hold=_number(env, "HEADRACE_PEER_HOLD_SECONDS", defaults.peer_hold),
            sample_interval=max(_LEAST_INTERVAL, _number(env, "HEADRACE_SAMPLE_SECONDS", defaults.sample_interval)),
            packages=_number(env, "HEADRACE_PACKAGES_SECONDS", defaults.packages),
        )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise Failed(bad_config(f"{name} must be a number that is not negative, not {text!r}"))
    return value
