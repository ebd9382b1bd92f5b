"""The thread that reads the container's counters every few seconds and hands points to the tracker.

A point's step is the age of the run in whole seconds: it goes on through all attempts, and nothing has to be remembered
for it. Nothing of this is in the report: it is no progress, and no metric of the job's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from headrace_common.cgroup import Cgroup
from headrace_common.tags import SYSTEM_METRICS
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.system.gpu import Gpus
from headrace_trainer.launcher.system.points import mean, samples_a_point
from headrace_trainer.launcher.system.reading import metrics_between, read
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import Run


class Sampler:
    """`run` tells the run once there is one; until then nothing is kept. `take` gets each point's metrics."""

    def __init__(
        self, cgroup: Cgroup, settings: Settings, run: Callable[[], Run | None], take: Callable[[list[Metric]], None]
    ) -> None:
        self._cgroup = cgroup
        self._settings = settings
        self._run = run
        self._take = take

    def start(self) -> None:
        """Sample until the process ends."""
        threading.Thread(target=self._work, name="system metrics", daemon=True).start()

    def _work(self) -> None:
        gpus = Gpus()
        begin = before = read(self._cgroup, self._settings.paths)
        samples: list[dict[str, float]] = []
        while True:
            time.sleep(self._settings.sample_interval)
            now = read(self._cgroup, self._settings.paths)
            samples.append({**metrics_between(begin, before, now), **gpus.sample()})
            before = now
            run = self._run()
            if run is None:
                samples.clear()
                continue
            if len(samples) >= samples_a_point(now.time - begin.time):
                self._take(_point(mean(samples), run))
                samples.clear()


def _point(values: Mapping[str, float], run: Run) -> list[Metric]:
    milliseconds = time.time_ns() // 1_000_000
    step = max(0, milliseconds - run.start_time) // 1000
    return [Metric(SYSTEM_METRICS + name, value, milliseconds, step) for name, value in values.items()]
