"""What a phase of a TrainingJob looks at: all that it may know, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from headrace.api.trainingjob import BaselineVersion, FailureClass, TrainingJob, TrainingJobStatus
from headrace.settings import Settings
from headrace.training.observed import Observed, Pod
from headrace.training.stages import Part, part_of


@dataclass(frozen=True)
class Problem:
    """Why an attempt cannot begin yet. `patient` ones are waited for without end, the others until the deadline."""

    failure_class: FailureClass
    reason: str
    message: str
    patient: bool = False


@dataclass(frozen=True)
class Start:
    """What reconcile found out before an attempt may begin: where its run and checkpoints belong. At the end of one
    that makes a dataset: the bucket that it lies in. Before the first one that compares: with which version, or, where
    there is none, how many versions the model has.
    """

    experiment_id: str = ""
    bucket: str = ""
    run_experiment: str = ""
    baseline: BaselineVersion | None = None
    versions: int = 0
    problem: Problem | None = None


@dataclass(frozen=True)
class View:
    """One look at a TrainingJob. `start` matters only when an attempt begins, or has made a dataset."""

    job: TrainingJob
    observed: Observed
    start: Start
    now: datetime
    settings: Settings

    @property
    def status(self) -> TrainingJobStatus:
        """As far as this pass has come with it."""
        return self.job.status

    @property
    def part(self) -> Part:
        """What the stage under way runs."""
        return part_of(self.job)

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Those of the attempt in status, by index."""
        attempt = self.status.attempt
        return self.observed.pods_of(attempt.number) if attempt is not None else ()

    @property
    def chief(self) -> Pod | None:
        """Worker 0 of the attempt in status."""
        return next((pod for pod in self.pods if pod.index == 0), None)

    def with_status(self, status: TrainingJobStatus) -> View:
        """The same look, with what this pass knows by now in status."""
        return replace(self, job=self.job.with_status(status))
