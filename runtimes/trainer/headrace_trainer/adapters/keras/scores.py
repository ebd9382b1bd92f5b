"""What a fit has measured on the weights that it leaves, or that it has saved on its way: from Keras' History."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from headrace_trainer.adapters.models import Scores


def at_end(history: Any, callbacks: Iterable[Any]) -> tuple[Scores, bool]:
    """What a fit has measured on the weights that it leaves, and whether they are those of its last epoch."""
    restored = [
        callback.best_epoch
        for callback in callbacks
        if isinstance(callback, keras.callbacks.EarlyStopping)
        and callback.restore_best_weights
        and getattr(callback, "best", None) is not None
    ]
    epoch = restored[-1] if restored else None
    is_last = epoch is None or not history.epoch or epoch == history.epoch[-1]
    return at_epoch(history, None if is_last else epoch), is_last


def at_epoch(history: Any, epoch: int | None) -> Scores:
    """What the epoch (None: the last one) ended with, by the names of the run's metrics. What was not measured in each
    epoch is known at the end only.
    """
    if not history.epoch or (epoch is not None and epoch not in history.epoch):
        return {}
    index = -1 if epoch is None else history.epoch.index(epoch)
    scores: Scores = {}
    for name, values in history.history.items():
        if not values or (index != -1 and len(values) != len(history.epoch)):
            continue
        if isinstance(value := values[index], int | float):
            scores[name] = float(value)
            if not name.startswith("val_"):
                scores[f"epoch/{name}"] = float(value)
    return scores
