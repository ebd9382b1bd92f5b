"""Which parameters the next trials have: a function of what the trials before them came to, by Optuna.

Nothing is kept between two questions: the study is made of the history that is handed over, and the random numbers of a
trial come from the seed and its number. So it does not matter who is killed when.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning

from headrace_common.protocol.fields import Scalar
from headrace_common.protocol.trials import Trial, TrialState, is_better
from headrace_common.protocol.tuning import Dimension, Goal, Kind, Sampler, Tuning
from headrace_trainer.tuning.history import History

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)

# Enough for any use, and to be read by a person.
_DIGITS = 9
_STATES = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.SUCCEEDED: optuna.trial.TrialState.COMPLETE,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
}


def suggest(tuning: Tuning, trials: Sequence[Trial], wanted: Iterable[int]) -> dict[int, dict[str, Scalar]]:
    """The parameters of the trials with these numbers, each as if those before it ran already. Of a grid there may be
    fewer.
    """
    if tuning.sampler is Sampler.GRID:
        return {number: _of_grid(tuning, number) for number in wanted if number < tuning.trials}
    study = study_of(tuning, trials)
    return {number: _next(study, tuning, number) for number in sorted(wanted)}


def to_prune(tuning: Tuning, trials: Sequence[Trial], reported: Mapping[str, History]) -> tuple[int, ...]:
    """The trials that are to be stopped, by what each run has `reported` of the objective. Scripts count their steps as
    they like; reports can be compared. The rule is Optuna's MedianPruner; a study of all reports, which that asks for,
    would have to be made anew for each question.
    """
    pruner = tuning.pruner
    if pruner is None:
        return ()
    known = [trial for trial in trials if tuning.fits(trial.parameters)]
    ended = [trial for trial in known if _is_measured(trial)]
    others = [reported[trial.run] for trial in ended if trial.run in reported]
    if len(ended) < max(1, pruner.startup_trials):
        return ()
    running = [trial for trial in known if trial.state is TrialState.RUNNING and trial.run in reported]
    return tuple(
        trial.number for trial in running if _is_behind(tuning.goal, reported[trial.run], others, pruner.warmup_steps)
    )


def _is_behind(goal: Goal, own: History, others: Sequence[History], warmup_steps: int) -> bool:
    """By the last report of which something is kept of each."""
    stride = max(one.stride for one in (own, *others))
    place = (own.count - 1) // stride * stride
    if own.count == 0 or place < warmup_steps:
        return False
    there = [value for value in (one.at(place) for one in others) if value is not None and not math.isnan(value)]
    if not there:
        return False
    middle, best = statistics.median(there), own.greatest if goal is Goal.MAXIMIZE else own.least
    return math.isnan(best) or is_better(goal, middle, best)


def study_of(tuning: Tuning, trials: Iterable[Trial]) -> optuna.Study:
    """A study that has these trials, but for those that are not of this space, as this or another release counts it:
    the others are not lost for one of them.
    """
    study = optuna.create_study(direction="maximize" if tuning.goal is Goal.MAXIMIZE else "minimize")
    distributions = {one.name: _distribution(one) for one in tuning.space}
    for trial in sorted(trials, key=lambda one: one.number):
        if not tuning.fits(trial.parameters):
            continue
        # What Optuna has against a trial are its values: steps so many that a number cannot tell them apart.
        with contextlib.suppress(ValueError):
            study.add_trial(_frozen(tuning, trial, distributions))
    return study


def _is_measured(trial: Trial) -> bool:
    return trial.state is TrialState.SUCCEEDED and trial.value is not None and math.isfinite(trial.value)


def _frozen(tuning: Tuning, trial: Trial, distributions: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    is_measured = _is_measured(trial)
    state = TrialState.FAILED if trial.state is TrialState.SUCCEEDED and not is_measured else trial.state
    return optuna.trial.create_trial(
        state=_STATES[state],
        value=trial.value if is_measured else None,
        params={one.name: _as_kind(one, trial.parameters[one.name]) for one in tuning.space},
        distributions=dict(distributions),
    )


def _next(study: optuna.Study, tuning: Tuning, number: int) -> dict[str, Scalar]:
    study.sampler = _sampler(tuning, number)
    if number == 0 and (first := _usable(tuning)):
        study.enqueue_trial(first)
    asked = study.ask({one.name: _distribution(one) for one in tuning.space})
    return {one.name: _readable(one, asked.params[one.name]) for one in tuning.space}


def _usable(tuning: Tuning) -> dict[str, Scalar]:
    """Those of spec.parameters that are in the space."""
    known = {one.name: one for one in tuning.space}
    return {name: value for name, value in tuning.first.items() if name in known and known[name].has(value)}


def _sampler(tuning: Tuning, number: int) -> optuna.samplers.BaseSampler:
    seed = int.from_bytes(hashlib.sha256(f"{tuning.seed}/{number}".encode()).digest()[:4], "big")
    if tuning.sampler is Sampler.RANDOM:
        return optuna.samplers.RandomSampler(seed=seed)
    # A trial that runs counts as a bad one meanwhile, so that those beside it are elsewhere.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind is Kind.CATEGORICAL:
        return CategoricalDistribution(dimension.values)
    if dimension.kind is Kind.INT:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        # Optuna warns where the last step does not meet the end.
        return IntDistribution(low, low + (high - low) // step * step, log=dimension.log, step=step)
    if not dimension.step:
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    last = dimension.low + ((dimension.size or 1) - 1) * dimension.step
    return FloatDistribution(dimension.low, last, step=dimension.step)


def _as_kind(dimension: Dimension, value: Scalar) -> Scalar:
    """JSON has one kind of numbers: what was 2.0 may have become 2. Steps are counted anew: Optuna takes none that was
    rounded.
    """
    if dimension.kind is Kind.CATEGORICAL:
        return value
    if dimension.kind is Kind.INT or not dimension.step:
        return int(value) if dimension.kind is Kind.INT else float(value)
    return dimension.low + round((float(value) - dimension.low) / dimension.step) * dimension.step


def _readable(dimension: Dimension, value: Scalar) -> Scalar:
    if dimension.kind is not Kind.FLOAT:
        return value
    rounded = float(f"{value:.{_DIGITS}g}") if not dimension.step else float(f"{value:.12g}")
    return min(max(rounded, dimension.low), dimension.high)


def _of_grid(tuning: Tuning, number: int) -> dict[str, Scalar]:
    """The combination of this number: the last parameter of the space changes the fastest. By counting, and not by
    Optuna's GridSampler, which draws from those that are left: two that are asked for at once could be the same.
    """
    found: dict[str, Scalar] = {}
    rest = number
    for dimension in reversed(tuning.space):
        size = dimension.size or 1
        found[dimension.name] = _value_at(dimension, rest % size)
        rest //= size
    return dict(reversed(found.items()))


def _value_at(dimension: Dimension, place: int) -> Scalar:
    if dimension.kind is Kind.CATEGORICAL:
        return dimension.values[place]
    if dimension.kind is Kind.INT:
        return int(dimension.low) + place * int(dimension.step or 1)
    return _readable(dimension, dimension.low + place * dimension.step)
