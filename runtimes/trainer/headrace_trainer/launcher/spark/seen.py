"""What Spark says of itself on its REST interface, as far as it is told (pure).

https://spark.apache.org/docs/latest/monitoring.html#rest-api
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

_DRIVER = "driver"
_DONE = frozenset({"COMPLETE", "SKIPPED"})
_GONE = frozenset({"FAILED"})


@dataclass(frozen=True)
class Seen:
    """Stages of the jobs that Spark knows by now; tasks are those of stages that have begun or ended. Executors that
    are there, and those that are not any more.
    """

    stages_done: int
    stages: int
    tasks_done: int
    tasks: int
    executors: int
    executors_lost: int

    @property
    def percent(self) -> float | None:
        """By tasks: of a stage that runs for an hour, half is half an hour."""
        return None if not self.tasks else round(min(100.0, 100.0 * self.tasks_done / self.tasks), 1)

    def finished(self) -> Seen:
        """When the program has ended well: it is looked at now and then, and the last look was before the end."""
        return replace(self, stages_done=self.stages, tasks_done=self.tasks)


def seen(stages: Iterable[Mapping[str, Any]], executors: Iterable[Mapping[str, Any]]) -> Seen:
    """From what `/stages` and `/allexecutors` answer. Of a stage that was tried again the last attempt counts. Raises
    KeyError, TypeError where they are of another form.
    """
    latest: dict[int, Mapping[str, Any]] = {}
    for stage in stages:
        known = latest.get(stage["stageId"])
        if known is None or known["attemptId"] < stage["attemptId"]:
            latest[stage["stageId"]] = stage
    counted = [stage for stage in latest.values() if stage["status"] not in _GONE]
    done = [stage for stage in counted if stage["status"] in _DONE]
    ours = [one for one in executors if one["id"] != _DRIVER]
    tasks = sum(int(stage["numTasks"]) for stage in counted)
    tasks_done = sum(
        int(stage["numTasks"] if stage["status"] in _DONE else stage["numCompleteTasks"]) for stage in counted
    )
    active = sum(1 for one in ours if one["isActive"])
    return Seen(len(done), len(counted), tasks_done, tasks, active, len(ours) - active)
