"""Which (key, step) the run has already, so that none is logged twice when steps are trained again.

Above the highest step of a key nothing is there: that is known of all keys at once. Below it there may be gaps, of
steps that an earlier attempt had measured and could not send: they are told by the key's history, read when the first
such step comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import MLflow, Run


class Logged:
    """What one run has, as it was when it was read and with what was added since."""

    def __init__(self, client: MLflow, run: Run) -> None:
        self._client = client
        self._run_id = run.id
        self._highest = dict(run.logged)
        self._steps: dict[str, set[int]] = {}

    def has(self, metric: Metric) -> bool:
        """Raises what `MLflow.history` raises."""
        if metric.step > self._highest.get(metric.key, -1):
            return False
        if metric.key not in self._steps:
            self._steps[metric.key] = {step for step, _ in self._client.history(self._run_id, metric.key)}
        return metric.step in self._steps[metric.key]

    def add(self, metrics: Iterable[Metric]) -> None:
        """The run has these now."""
        for metric in metrics:
            self._highest[metric.key] = max(metric.step, self._highest.get(metric.key, -1))
            if metric.key in self._steps:
                self._steps[metric.key].add(metric.step)
