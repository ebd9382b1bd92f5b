"""What all trials came to, as files that the launcher keeps with the job's run: everything is in tuning.json, the
pictures show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from headrace_common.protocol.trials import Trial, TrialState, best_of
from headrace_common.protocol.tuning import Tuning
from headrace_trainer.launcher.log import log
from headrace_trainer.tuning.study import study_of

NAME = "tuning.json"
VERSION = 1


def leave(folder: Path, tuning: Tuning, trials: Sequence[Trial]) -> None:
    """Writes all of it; tuning.json is the last."""
    told = as_json(tuning, trials)
    try:
        from headrace_trainer.tuning import pictures

        pictures.draw(folder, tuning, trials, told["importance"])
    except Exception as error:  # noqa: BLE001 - a picture that cannot be drawn is worth no failure
        log(f"the pictures were not drawn: {type(error).__name__}: {error}")
    part = folder / f".{NAME}"
    part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    part.rename(folder / NAME)


def as_json(tuning: Tuning, trials: Sequence[Trial]) -> dict[str, Any]:
    """The whole of it."""
    best = best_of(tuning.goal, trials)
    return {
        "version": VERSION,
        "objective": {"metric": tuning.metric, "goal": str(tuning.goal)},
        "sampler": str(tuning.sampler),
        "seed": tuning.seed,
        "space": [one.as_json() for one in tuning.space],
        "trials": [trial.as_json() for trial in sorted(trials, key=lambda one: one.number)],
        "best": None if best is None else best.as_json(),
        "importance": importance(tuning, trials),
    }


def importance(tuning: Tuning, trials: Sequence[Trial]) -> Mapping[str, float] | None:
    """How much of the objective's differences each parameter explains, as shares of 1, by Optuna's PED-ANOVA; None
    where there are too few trials to tell.
    """
    ended = [trial for trial in trials if trial.state is TrialState.SUCCEEDED]
    if len({trial.value for trial in ended}) < 2:
        return None
    try:
        found = optuna.importance.get_param_importances(study_of(tuning, ended))
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        log(f"how important the parameters are cannot be told: {error}")
        return None
    return {name: float(share) for name, share in found.items()}
