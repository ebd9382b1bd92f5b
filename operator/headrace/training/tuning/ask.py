"""What the pod of the tuning is asked: a function of the trials that there are (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.trainingjob import TrainingJob
from headrace.training.tuning.image import is_image_awaited
from headrace.training.tuning.keep import undecided
from headrace.training.tuning.space import tuning_of
from headrace.training.tuning.trial import Trial
from headrace_common.protocol.trials import Ask

# More are asked for at the next look: choosing takes a part of a second each, and the answer is waited for.
_MOST_AT_ONCE = 4


def ask_of(job: TrainingJob, trials: Sequence[Trial]) -> Ask:
    """Numbers are dense: the next trial has the lowest number that is missing. One that somebody has deleted is done
    again.
    """
    asked, spec = tuning_of(job.spec), job.spec.tuning
    assert asked is not None
    assert spec is not None
    there = {trial.number for trial in trials}
    running = sum(not trial.is_over for trial in trials)
    parallel = 1 if is_image_awaited(job, trials) else spec.parallel
    free = 0 if job.spec.suspend else max(0, min(parallel - running, _MOST_AT_ONCE))
    missing = [number for number in range(asked.trials) if number not in there]
    return Ask(
        trials=tuple(sorted((trial.told for trial in trials), key=lambda one: one.number)),
        wanted=tuple(missing[:free]),
        is_last=not missing and not running and not undecided(job, trials),
    )
