"""Metrics that MLflow has not taken yet go with each checkpoint, as one of its files.

The attempt that goes on from a checkpoint does not train the steps before it again: what was measured there is on the
disk of a pod that may be gone, and nowhere else. Before the checkpoint is uploaded, so before its manifest, everything
that still waits is put into its folder; the next attempt sends it first. What had arrived meanwhile the run has, and it
is left out there.
"""

from __future__ import annotations

import json
from pathlib import Path

from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.spool import Spool

NAME = "unsent-metrics.jsonl"
MOST_BYTES = 8 * 1024 * 1024


def write(spool: Spool, checkpoint: Path) -> None:
    """What waits in the spool into a local checkpoint's folder; no file where nothing waits. Beyond MOST_BYTES the
    newest are left out, with a line in the log.
    """
    lines, is_all = spool.copy(MOST_BYTES)
    if not is_all:
        log(f"MLflow has been away for long: the newest metrics do not go with {checkpoint.name}")
    if not lines:
        return
    try:
        (checkpoint / NAME).write_bytes(lines)
    except OSError as error:
        log(f"the metrics that MLflow has not taken yet do not go with {checkpoint.name}: {error}")


def read(checkpoint: Path) -> list[Metric]:
    """What came with a checkpoint. Its files may be the script's doing: what is no metric is left out."""
    path = checkpoint / NAME
    if not path.is_file():
        return []
    found = [_metric(line) for line in path.read_bytes().splitlines()]
    return [metric for metric in found if metric is not None]


def _metric(line: bytes) -> Metric | None:
    try:
        key, value, time, step = json.loads(line)
    except (ValueError, TypeError):
        return None
    if not isinstance(key, str) or type(value) not in (int, float) or type(time) is not int or type(step) is not int:
        return None
    return Metric(key, float(value), time, step)
