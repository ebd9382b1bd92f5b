"""What the launcher asks of the child, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_common.formats import ModelFormat


class SettingsError(ValueError):
    """A HEADRACE_* variable that cannot be understood."""


@dataclass(frozen=True)
class Settings:
    """The HEADRACE_* variables; a directory that is None turns its part off."""

    message_descriptor: int | None
    checkpoint_directory: Path | None
    checkpoint_interval_seconds: float
    stop_seconds: float
    resume_directory: Path | None
    replay_seconds: float
    previous_steps_file: Path | None
    export_directory: Path | None
    formats: tuple[ModelFormat, ...]
    keeps_rows: bool
    trial_after_seconds: float
    trial_left_seconds: float
    seed: int
    workers: int
    worker_index: int
    is_mirrored: bool
    gpus: int

    @property
    def is_chief(self) -> bool:
        """Only the chief writes checkpoints and exports."""
        return self.worker_index == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Reads the variables; raises SettingsError naming the one that is wrong."""

        def path(name: str) -> Path | None:
            value = environment.get(name, "")
            return Path(value) if value else None

        def integer(name: str, default: int | None) -> int | None:
            value = environment.get(name, "")
            if not value:
                return default
            try:
                return int(value)
            except ValueError:
                raise SettingsError(f"{name} must be an integer, got {value!r}") from None

        def seconds(name: str, default: float) -> float:
            value = environment.get(name) or str(default)
            try:
                return float(value)
            except ValueError:
                raise SettingsError(f"{name} must be seconds, got {value!r}") from None

        wanted = [name.strip() for name in environment.get("HEADRACE_FORMATS", "").split(",") if name.strip()]
        try:
            formats = tuple(ModelFormat(name) for name in wanted)
        except ValueError:
            known = ", ".join(ModelFormat)
            raise SettingsError(f"HEADRACE_FORMATS must name some of {known}, got {','.join(wanted)!r}") from None
        return cls(
            message_descriptor=integer("HEADRACE_CHILD_FD", None),
            checkpoint_directory=path("HEADRACE_CHECKPOINT_DIR"),
            checkpoint_interval_seconds=seconds("HEADRACE_CHECKPOINT_INTERVAL", 300.0),
            stop_seconds=seconds("HEADRACE_STOP_SECONDS", 15.0),
            resume_directory=path("HEADRACE_RESUME_DIR"),
            replay_seconds=seconds("HEADRACE_REPLAY_SECONDS", 600.0),
            previous_steps_file=path("HEADRACE_PREVIOUS_STEPS"),
            export_directory=path("HEADRACE_EXPORT_DIR"),
            formats=formats,
            keeps_rows=environment.get("HEADRACE_INPUT_EXAMPLE", "Rows") == "Rows",
            trial_after_seconds=seconds("HEADRACE_TRIAL_AFTER_SECONDS", 60.0),
            trial_left_seconds=seconds("HEADRACE_TRIAL_LEFT_SECONDS", 300.0),
            seed=integer("HEADRACE_SEED", 0) or 0,
            workers=integer("HEADRACE_WORKERS", 1) or 1,
            worker_index=integer("HEADRACE_WORKER_INDEX", 0) or 0,
            is_mirrored=environment.get("HEADRACE_STRATEGY", "") == "Mirrored",
            gpus=integer("HEADRACE_GPUS", 0) or 0,
        )
