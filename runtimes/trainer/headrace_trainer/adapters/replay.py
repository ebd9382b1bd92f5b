"""Was the resume exact? The steps after a checkpoint, as the interrupted run saw them, against the same steps trained
again.

The loss of a step depends on the weights before it, the batch and every random number that went into it; what the
optimizer made of a step shows in the loss of the next one. So two steps in a row with equal losses mean that the
resumed run does what the interrupted one did, and one alone says nothing about the optimizer. What is compared: the
metrics of the steps right after the checkpoint, which the checkpoint itself holds, and whatever else of the interrupted
run has been logged (HEADRACE_PREVIOUS_STEPS).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_RELATIVE_TOLERANCE = 1e-6
_FEWEST_STEPS = 2


@dataclass(frozen=True)
class Verdict:
    """What can be said about a resume; `exact` is None where nothing could be compared."""

    exact: bool | None
    message: str


@dataclass
class Replay:
    """Compares replayed steps; `expected` maps a step of the fit to the metrics that the interrupted run had there.
    `doubt` says why the steps may be equal and the rest is not: with it nothing is called exact.
    """

    resumed_at: int
    expected: dict[int, dict[str, float]]
    doubt: str = ""
    _compared: int = field(default=0, init=False)

    def expects(self, step: int) -> bool:
        """Whether this step is one to compare: reading metrics waits for the device, so not every step is read."""
        return step in self.expected

    def compare(self, step: int, metrics: Mapping[str, float]) -> Verdict | None:
        """Takes one replayed step; a verdict as soon as there is one."""
        before = self.expected.pop(step)
        for name in sorted(before.keys() & metrics.keys()):
            if not _equal(before[name], metrics[name]):
                self.expected.clear()
                return Verdict(
                    exact=False,
                    message=f"not exact: resumed at step {self.resumed_at + 1}, and {name} at step {step} was "
                    f"{before[name]:.9g} and is {metrics[name]:.9g} now (the order of the data is another one, or an "
                    "operation gives another result each time, as some do on a GPU)",
                )
        self._compared += 1
        if self.expected:
            return None
        return self.verdict_so_far()

    def verdict_so_far(self) -> Verdict:
        """The verdict when no further step will come."""
        if not self._compared:
            return Verdict(None, "no step of the interrupted run after the checkpoint is known: nothing to compare")
        steps = "1 replayed step equals" if self._compared == 1 else f"{self._compared} replayed steps equal"
        message = f"{steps} what the interrupted run logged"
        if self.doubt:
            return Verdict(None, f"{message}; but {self.doubt}")
        if self._compared < _FEWEST_STEPS:
            return Verdict(None, f"{message}; one alone says nothing about the optimizer")
        return Verdict(True, message)


def _equal(before: float, now: float) -> bool:
    if math.isnan(before) or math.isnan(now):
        return math.isnan(before) and math.isnan(now)
    return math.isclose(before, now, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)


def previous_steps(path: Path, fit: int, after: int) -> dict[int, dict[str, float]]:
    """The logged steps of one fit after a step, from lines `{"fit": 0, "epoch": 2, "step": 121, "loss": 0.5}`.

    A line may hold any metrics beside the three positions. A step that two attempts logged counts as it was logged
    last.
    """
    steps: dict[int, dict[str, float]] = {}
    with path.open(encoding="utf-8") as lines:
        for record in _records(lines):
            if record.get("fit") == fit and record.get("step", 0) > after:
                metrics = {
                    k: float(v) for k, v in record.items() if k not in ("fit", "epoch", "step") and v is not None
                }
                if metrics:
                    steps[int(record["step"])] = metrics
    return steps


def _records(lines: Iterable[str]) -> Iterable[dict[str, float]]:
    for line in lines:
        if line.strip():
            yield json.loads(line)
