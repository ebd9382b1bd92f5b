"""Puts Headrace around Keras' training methods; called once, when the script has imported Keras on TensorFlow, and
nothing of it has run yet.
"""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.optimizers.loss_scale_optimizer import LossScaleOptimizer

from headrace_trainer.adapters.keras.devices import workers as keras_workers
from headrace_trainer.adapters.keras.fits import rows as keras_rows
from headrace_trainer.adapters.keras.fits.data import DataOrder, ReplayLimit
from headrace_trainer.adapters.keras.fits.fit import Fits
from headrace_trainer.adapters.keras.fits.recorder import follow_callbacks
from headrace_trainer.adapters.keras.loops.hooks import LoopHooks
from headrace_trainer.adapters.keras.loops.loops import Loops
from headrace_trainer.adapters.keras.models import follow
from headrace_trainer.adapters.keras.models.living import owners
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.messages import in_json
from headrace_trainer.adapters.session import FitRun, Session


def install(session: Session) -> None:
    """Replaces fit, evaluate, predict, train_on_batch and the optimizer's apply by ones that tell the session."""
    fits = Fits(session)
    follow_callbacks()

    def tell_replay(run: FitRun, epoch: int, step: int) -> None:
        session.messages.send("replay", fit=run.index, epoch=epoch, step=step)

    limit = ReplayLimit(session.settings.replay_seconds, tell_replay, session.lose)
    order = DataOrder(session.settings.seed, fits.claim, fits.resume, limit)
    order.install()
    TensorFlowTrainer._maybe_symbolic_build = keras_workers.build_from_description
    if session.settings.workers > 1:
        keras_workers.install()
    _wrap_fit(fits)
    _wrap_epoch_logs(fits)
    _wrap_evaluate(session, fits, order)
    _wrap_predict()
    loops = Loops(session)
    session.loop = loops
    hooks = LoopHooks(loops, fits)
    hooks.install()
    _wrap_train_on_batch(session, fits, hooks)
    _wrap_apply(session, fits, hooks)
    follow.install(session, fits)


def _bind(signature: inspect.Signature, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    bound = signature.bind(*args, **kwargs)
    if bound.arguments.get("verbose", "auto") == "auto":
        # "auto" draws a bar with thousands of backspaces: into a log it is one giant line.
        bound.arguments["verbose"] = 2
    return bound


def _wrap_fit(fits: Fits) -> None:
    original = TensorFlowTrainer.fit
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(*args: Any, **kwargs: Any) -> Any:
        if fits.is_nested:
            return original(*args, **kwargs)
        return fits.fit(original, _bind(signature, *args, **kwargs))

    TensorFlowTrainer.fit = fit


def _wrap_epoch_logs(fits: Fits) -> None:
    """An epoch that was interrupted after its last step has no step to take its logs from when it is resumed."""
    original = TensorFlowTrainer._get_metrics_result_or_logs

    @functools.wraps(original)
    def get_metrics_result_or_logs(self: Any, logs: Any) -> Any:
        return original(self, logs or fits.logs_passed_over(self))

    TensorFlowTrainer._get_metrics_result_or_logs = get_metrics_result_or_logs


class _LastLogs(keras.callbacks.Callback):  # type: ignore[misc]
    """What an evaluation has found."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, float] = {}

    def on_test_end(self, logs: Any = None) -> None:
        self.logs = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}


def _wrap_evaluate(session: Session, fits: Fits, order: DataOrder) -> None:
    original = TensorFlowTrainer.evaluate
    signature = inspect.signature(original)

    @functools.wraps(original)
    def evaluate(*args: Any, **kwargs: Any) -> Any:
        if fits.is_running:
            return original(*args, **kwargs)
        bound = _bind(signature, *args, **kwargs)
        given = bound.arguments.get("callbacks")
        last = _LastLogs()
        if isinstance(given, keras.callbacks.CallbackList):
            given.append(last)
        else:
            bound.arguments["callbacks"] = [*keras.tree.flatten(given or []), last]
        with order.watch() as iterators:
            result = original(*bound.args, **bound.kwargs)
        session.messages.send("evaluate", metrics=in_json(last.logs))
        model = bound.arguments["self"]
        session.models.evaluated(model, last.logs)
        if iterators and not session.models.knows_data_of(model):
            session.models.has_data(model, *keras_rows.described(iterators[-1]))
        return result

    TensorFlowTrainer.evaluate = evaluate


def _wrap_predict() -> None:
    original = TensorFlowTrainer.predict
    signature = inspect.signature(original)

    @functools.wraps(original)
    def predict(*args: Any, **kwargs: Any) -> Any:
        bound = _bind(signature, *args, **kwargs)
        return original(*bound.args, **bound.kwargs)

    TensorFlowTrainer.predict = predict


def _wrap_train_on_batch(session: Session, fits: Fits, hooks: LoopHooks) -> None:
    original = TensorFlowTrainer.train_on_batch

    @functools.wraps(original)
    def train_on_batch(self: Any, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fits.is_running:
            return original(self, x, y, *args, **kwargs)
        with fits.step_by_hand():
            result = original(self, x, y, *args, **kwargs)
            result = hooks.on_batch(self, lambda: original(self, x, y, *args, **kwargs), result)
            session.batch_steps += 1
            session.models.trained_by_hand(self, "train_on_batch")
            if not session.models.knows_data_of(self):
                given = (x,) if y is None else (x, y)
                session.models.has_data(self, tf.nest.map_structure(_spec, given), keras_rows.of_batch(given))
        return result

    TensorFlowTrainer.train_on_batch = train_on_batch


def _spec(value: Any) -> Any:
    """What a batch looks like, for a batch of any size; a part of it may be None."""
    if value is None:
        return None
    described = value if hasattr(value, "shape") and hasattr(value, "dtype") else np.asarray(value)
    return tf.TensorSpec((None, *described.shape[1:]), described.dtype)


def _wrap_apply(session: Session, fits: Fits, hooks: LoopHooks) -> None:
    """A training loop of the script's own is known by the optimizer that it uses, also inside of a tf.function. Of one
    that uses another one (to scale the loss) it is the outer.
    """
    within = threading.local()
    for kind in (BaseOptimizer, LossScaleOptimizer):
        _wrap_apply_of(kind, within, session, fits, hooks)


def _wrap_apply_of(kind: Any, within: threading.local, session: Session, fits: Fits, hooks: LoopHooks) -> None:
    original = kind.apply

    @functools.wraps(original)
    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)  # it may be there to be read once
        if fits.is_followed or getattr(within, "is_so", False):
            return original(self, grads, trainable_variables)
        session.models.trained_again()
        counted = keras_state.steps_of(self)
        if not any(counted is known for known in session.custom_iterations):
            session.custom_iterations.append(counted)
            for model in owners(trainable_variables or self._trainable_variables):
                session.models.trained_by_hand(model, "a loop of the script's own")
        hooks.applies(self, lambda: _owned(trainable_variables or self._trainable_variables))
        within.is_so = True
        try:
            result = original(self, grads, trainable_variables)
        finally:
            within.is_so = False
        hooks.applied(self)
        return result

    kind.apply = apply


def _owned(variables: list[Any]) -> tuple[list[Any], list[Any]]:
    return owners(variables), list(variables)
