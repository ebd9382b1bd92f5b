"""What the operator and a pod of tuning say to one another: the operator posts what became of all trials, and is
answered with the parameters of those that it may begin.

The pod keeps nothing that the operator does not tell it again: whichever of the two is killed, nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace_common.protocol.fields import CannotBeDone, Fields, Scalar, wrong
from headrace_common.protocol.tuning import Goal, Tuning, one_of

PATH = "/trials"
VERSION = 1
# A thousand trials of 32 parameters each.
MAX_ASK_BYTES = 8 * 1024 * 1024
MAX_ANSWER_BYTES = 1024 * 1024


class TrialState(StrEnum):
    """What has become of a trial."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PRUNED = "Pruned"


@dataclass(frozen=True)
class Trial:
    """A trial as the operator knows it. `value` is the metric's, of one that succeeded; `run` its MLflow run, or
    empty. The model of one that is `spent` is to be removed: it is none of those that are kept, and never comes out.
    """

    number: int
    state: TrialState
    parameters: Mapping[str, Scalar]
    value: float | None = None
    run: str = ""
    spent: bool = False

    def as_json(self) -> dict[str, Any]:
        found = {"number": self.number, "state": str(self.state), "parameters": dict(self.parameters), "run": self.run}
        found |= {"spent": True} if self.spent else {}
        return found | ({} if self.value is None else {"value": self.value})


def is_better(goal: Goal, value: float, than: float) -> bool:
    """Whether this value of the objective is better, and not only as good."""
    return value > than if goal is Goal.MAXIMIZE else value < than


def ranked(goal: Goal, trials: Iterable[Trial]) -> list[Trial]:
    """Those that succeeded and have their model, the best one first; of two that are as good the earlier one."""
    sign = -1 if goal is Goal.MAXIMIZE else 1
    known = [
        (sign * trial.value, trial.number, trial)
        for trial in trials
        if trial.state is TrialState.SUCCEEDED
        and trial.value is not None
        and math.isfinite(trial.value)
        and not trial.spent
    ]
    return [trial for _, _, trial in sorted(known, key=lambda one: one[:2])]


def best_of(goal: Goal, trials: Iterable[Trial]) -> Trial | None:
    """The one whose model comes out."""
    return next(iter(ranked(goal, trials)), None)


@dataclass(frozen=True)
class Ask:
    """What the operator posts: all trials, the numbers of those that it would begin, and whether there will be no
    more: then what they came to is put together, and the pod ends.
    """

    trials: tuple[Trial, ...]
    wanted: tuple[int, ...] = ()
    is_last: bool = False

    def as_json(self) -> dict[str, Any]:
        trials = [trial.as_json() for trial in self.trials]
        return {"version": VERSION, "trials": trials, "wanted": list(self.wanted), "last": self.is_last}


def parse_ask(data: Any) -> Ask:
    """What was posted. Raises NotUnderstood."""
    root = Fields(data, "trials")
    if root.integer("version", least=0) != VERSION:
        raise CannotBeDone(f"the operator speaks version {root.integer('version', least=0)} of this, not {VERSION}")
    wanted = root.items("wanted")
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in wanted):
        raise wrong("trials.wanted", "a list of numbers of trials", wanted)
    return Ask(tuple(_trial(one) for one in root.objects("trials")), tuple(wanted), root.flag("last"))


def _trial(fields: Fields) -> Trial:
    return Trial(
        number=fields.integer("number", least=0),
        state=one_of(TrialState, fields.text("state"), "trials.state"),
        parameters=fields.scalars("parameters"),
        value=fields.finite("value"),
        run=fields.text("run", ""),
        spent=fields.flag("spent"),
    )


@dataclass(frozen=True)
class Answer:
    """The parameters of trials that were asked for, by their numbers, and which of those that run are to be stopped."""

    suggestions: Mapping[int, Mapping[str, Scalar]] = field(default_factory=dict)
    pruned: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = [{"number": number, "parameters": dict(one)} for number, one in self.suggestions.items()]
        return {"version": VERSION, "suggestions": found} | ({"pruned": list(self.pruned)} if self.pruned else {})


def parse_answer(data: Any, tuning: Tuning, asked: Ask) -> Answer | None:
    """What was answered, a claim: of trials that were asked for, with parameters that are in the space, and no others;
    stopped are those that run, where there is a pruner. None where it is not of the protocol.
    """
    if not isinstance(data, dict) or data.get("version") != VERSION or not isinstance(data.get("suggestions"), list):
        return None
    found: dict[int, Mapping[str, Scalar]] = {}
    for one in data["suggestions"]:
        number, parameters = (one.get("number"), one.get("parameters")) if isinstance(one, dict) else (None, None)
        if not isinstance(number, int) or isinstance(number, bool) or number not in asked.wanted:
            continue
        if isinstance(parameters, dict) and tuning.fits(parameters):
            found[number] = parameters
    running = {trial.number for trial in asked.trials if trial.state is TrialState.RUNNING}
    said = data.get("pruned") if tuning.pruner is not None else None
    pruned = [number for number in said if isinstance(number, int)] if isinstance(said, list) else []
    return Answer(found, tuple(sorted(running.intersection(pruned))))
