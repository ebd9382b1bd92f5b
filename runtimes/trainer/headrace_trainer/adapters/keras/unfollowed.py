"""Kinds of Keras that are not followed: they may be imported (by a library that asks for them, or by TensorFlow), but
not be trained with.
"""

from __future__ import annotations

import importlib
from typing import Any

from headrace_trainer.adapters.refusal import Refusal, refuse, refuse_to_train
from headrace_trainer.adapters.session import Session

_NOTHING = "which is not followed: no progress, no checkpoints, no model"
_OTHERWISE = "Or set framework: Script, and let the script say these itself (docs/how-to/any-program.md)."


def install_legacy_keras(session: Session) -> None:
    """Refuses to train with `tf_keras`, Keras 2, which is another package than Keras."""
    tf_keras = importlib.import_module("tf_keras")
    refusal = Refusal(
        f"the script trains with tf_keras (legacy Keras 2), {_NOTHING}",
        "Train with Keras 3: `import keras`, or `tf.keras` without TF_USE_LEGACY_KERAS. " + _OTHERWISE,
    )
    _refuse(session, tf_keras, refusal)


def install_backend(session: Session, keras: Any, backend: str) -> None:
    """Refuses to train with Keras 3 on another backend than TensorFlow."""
    refusal = Refusal(
        f"the script trains with Keras on {backend}, {_NOTHING}",
        "Remove KERAS_BACKEND from the environment, or set it to tensorflow. " + _OTHERWISE,
    )
    _refuse(session, keras, refusal)


def _refuse(session: Session, package: Any, refusal: Refusal) -> None:
    optimizers = package.optimizers
    legacy = getattr(getattr(optimizers, "legacy", None), "Optimizer", None)
    refuse_to_train(
        [owner for owner in (package.Model, optimizers.Optimizer, legacy) if owner is not None],
        ("fit", "fit_generator", "train_on_batch", "apply", "apply_gradients", "stateless_apply"),
        lambda: refuse(session.messages, refusal, package.__name__),
    )
