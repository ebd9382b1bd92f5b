"""Which metrics the fits have that are followed, known before any callback is told their values: what a callback of the
script logs under one of these names would be in the run twice.
"""

from __future__ import annotations

from typing import Any

from keras.src.callbacks.callback_list import CallbackList

from headrace_trainer.adapters.keras.fits.recorder import Recorder


def collect(names: set[str]) -> None:
    """From here on `names` gets them."""
    after_train, at_epoch_end = CallbackList.on_train_batch_end, CallbackList.on_epoch_end

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        if logs and not names.issuperset(logs) and _is_followed(self):
            names.update(logs)
        after_train(self, batch, logs)

    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        if logs and _is_followed(self):
            names.update(logs)
        at_epoch_end(self, epoch, logs)

    CallbackList.on_train_batch_end = on_train_batch_end
    CallbackList.on_epoch_end = on_epoch_end


def _is_followed(callbacks: Any) -> bool:
    return any(isinstance(callback, Recorder) for callback in callbacks.callbacks)
