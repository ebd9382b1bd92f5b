"""Metrics and progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsIndex

from headrace_client import _state
from headrace_client._wire import count, now, number, send

_MAX_METRICS = 100  # in a message


def log(metrics: Mapping[str, Any], *, step: SupportsIndex | None = None, epoch: SupportsIndex | None = None) -> None:
    """Values of metrics after `step` steps: in the run, in `kubectl get`, and what gates are judged by (the last value
    of each name counts). Without a step: one more than the last. `epoch` counts from 1.

    Raises TypeError or ValueError for a value that is no number, a step below 0 and an epoch below 1.
    """
    values = [(str(name), number(value)) for name, value in metrics.items()]
    at = _state.step + 1 if step is None else count("step", step, 0)
    for start in range(0, len(values), _MAX_METRICS):
        _send_step("step", at, epoch, dict(values[start : start + _MAX_METRICS]))


def progress(
    *,
    step: SupportsIndex,
    steps: SupportsIndex | None = None,
    epoch: SupportsIndex | None = None,
    epochs: SupportsIndex | None = None,
) -> None:
    """How far training is: `step` of `steps` over the whole training, in `epoch` (from 1) of `epochs`.

    Raises TypeError or ValueError for counts that cannot be.
    """
    at = count("step", step, 0)
    of = None if steps is None else count("steps", steps, 1)
    of_epochs = None if epochs is None else count("epochs", epochs, 1)
    if of is not None and (of, of_epochs) != _state.total:
        _state.total = (of, of_epochs)
        send("fit", fit=0, epochs=of_epochs or 1, stepsPerEpoch=None, steps=of)
    _send_step("progress", at, epoch, {})


def _send_step(kind: str, step: int, epoch: SupportsIndex | None, metrics: Mapping[str, Any]) -> None:
    if epoch is not None:
        _state.epoch = count("epoch", epoch, 1)
    _state.step = step
    send(kind, fit=0, epoch=_state.epoch - 1, step=step, time=now(), metrics=dict(metrics))
