"""Metrics and progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_client import _state
from headrace_client._wire import now, number, send


def log(metrics: Mapping[str, Any], *, step: int | None = None, epoch: int | None = None) -> None:
    """Values of metrics after `step` steps: in the run, in `kubectl get`, and what gates are judged by (the last value
    of each name counts). Without a step: one more than the last. `epoch` counts from 1.

    Raises TypeError or ValueError for a value that is no number, a step below 0 and an epoch below 1.
    """
    values = {str(name): number(value) for name, value in metrics.items()}
    _send_step("step", _state.step + 1 if step is None else step, epoch, values)


def progress(*, step: int, steps: int | None = None, epoch: int | None = None, epochs: int | None = None) -> None:
    """How far training is: `step` of `steps` over the whole training, in `epoch` (from 1) of `epochs`.

    Raises ValueError for counts that cannot be.
    """
    total = (steps, epochs)
    if steps is not None and total != _state.total:
        _state.total = total
        of_epochs = epochs or 1
        send("fit", fit=0, epochs=of_epochs, stepsPerEpoch=max(1, -(-steps // of_epochs)))
    _send_step("progress", step, epoch, {})


def _send_step(kind: str, step: int, epoch: int | None, metrics: Mapping[str, Any]) -> None:
    if step < 0:
        raise ValueError(f"step {step}: steps are counted from 0")
    if epoch is not None and epoch < 1:
        raise ValueError(f"epoch {epoch}: epochs are counted from 1")
    _state.step = step
    _state.epoch = _state.epoch if epoch is None else epoch
    send(kind, fit=0, epoch=_state.epoch - 1, step=step, time=now(), metrics=dict(metrics))
