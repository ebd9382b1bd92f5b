"""The job's run, as a later stage sees it: what is known of the training, and a few metrics more.

The run has ended, and is the training's. So each metric is logged once, by whichever attempt comes first: they are the
same in all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import METRICS_PER_BATCH, MLflow, Refused, Rejected, Run, Unavailable

T = TypeVar("T")
_PAUSE = 2.0


def read(client: MLflow, run_id: str) -> Run | None:
    """The run, where MLflow answers now; nothing waits for it."""
    try:
        return client.get_run(run_id) if run_id else None
    except (Unavailable, Refused, Rejected) as error:
        log(f"the job's run cannot be read, and the model's card says less: {error}")
        return None


def log_metrics(client: MLflow, run_id: str, metrics: Mapping[str, float], outage_seconds: float) -> None:
    """Raises Failed (TrackingUnavailable) where MLflow stays away. A run that somebody has deleted gets none."""
    if not run_id:
        return
    deadline = time.monotonic() + outage_seconds
    try:
        known = _patiently(lambda: client.get_run(run_id), deadline).logged
        now = time.time_ns() // 1_000_000
        fresh = [Metric(name, value, now, 0) for name, value in metrics.items() if name not in known]
        for start in range(0, len(fresh), METRICS_PER_BATCH):
            batch = fresh[start : start + METRICS_PER_BATCH]
            _patiently(lambda batch=batch: client.log_metrics(run_id, batch), deadline)  # type: ignore[misc]
    except (Refused, Rejected) as error:
        log(f"the job's run does not take the metrics of the evaluation: {error}")


def _patiently(call: Callable[[], T], deadline: float) -> T:
    while True:
        try:
            return call()
        except Unavailable as error:
            if time.monotonic() + _PAUSE > deadline:
                raise Failed(
                    Failure(
                        Reason.TRACKING_UNAVAILABLE,
                        f"MLflow did not take the metrics of the evaluation: {error}",
                        "Look at the MLflow server; the next attempt evaluates anew.",
                    )
                ) from error
            time.sleep(_PAUSE)
