"""The trials' MLflow runs become children of the job's: whoever looks at the job finds them below it.

A trial's launcher knows nothing of the tuning, so it is done from here, as soon as a trial has told of its run. The run
of one that was stopped early is ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from headrace_common.protocol.trials import Trial, TrialState
from headrace_common.tags import OUTCOME_TAG, PARENT_TAG, TRIAL_TAG
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.tracking.mlflow import MLflow, Refused, Rejected
from headrace_trainer.tuning.errands import Errands


class Runs:
    """Those of one job, whose own is `parent`."""

    def __init__(self, client: MLflow, parent: str) -> None:
        self._client = client
        self._parent = parent
        self._known: dict[str, TrialState] = {}
        self._errands = Errands("runs", self._tell)

    def take(self, trials: Iterable[Trial]) -> None:
        """Have the runs of these trials tagged in the end, each once."""
        for trial in trials:
            is_new = trial.run not in self._known
            is_stopped = trial.state is TrialState.PRUNED and self._known.get(trial.run) is not TrialState.PRUNED
            if trial.run and (is_new or is_stopped):
                self._known[trial.run] = trial.state
                self._errands.add(trial)

    def wait(self, seconds: float) -> bool:
        """Until all are tagged; whether they are."""
        return self._errands.wait(seconds)

    def _tell(self, trial: Trial) -> None:
        tags = {PARENT_TAG: self._parent, TRIAL_TAG: str(trial.number)}
        try:
            if trial.state is TrialState.PRUNED:
                # Its launcher has left it open, for an attempt that will not come.
                self._client.update_run(trial.run, "KILLED", time.time_ns() // 1_000_000)
                tags |= {OUTCOME_TAG: "pruned"}
            self._client.set_tags(trial.run, tags)
        except (Refused, Rejected) as error:
            log(f"the run of trial {trial.number} cannot be put below the job's: {error}")
