"""Follows what a script does to its Keras models beside training them: building, loading and saving them, and giving
them weights.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from headrace_trainer.adapters.keras.fits.fit import Fits
from headrace_trainer.adapters.keras.models import weights
from headrace_trainer.adapters.own_files import was_written_since
from headrace_trainer.adapters.session import Session


def prepare(session: Session) -> None:
    """Lets the session's models know what models of Keras have in common."""
    models = session.models
    models.print_of, models.kind_of, models.is_as_built = weights.print_of, weights.kind_of, weights.are_as_built

    def steps() -> int:
        return session.batch_steps + sum(int(iterations.numpy()) for iterations in session.custom_iterations)

    models.steps = steps


def install(session: Session, fits: Fits) -> None:
    """From here on, building models, loading and saving them and giving them weights is seen."""
    prepare(session)
    weights.follow_building()

    def loaded(model: Any, path: str) -> None:
        if not fits.is_running:
            name, is_own = os.path.basename(path.rstrip("/")), was_written_since(path, session.began)
            session.models.loaded(model, f"loaded from {name}", is_of_own_file=is_own)

    def saved(model: Any, path: str) -> None:
        session.models.saved(model)

    _follow_function("load_model", lambda found, result: (result, found.get("filepath")), loaded)
    _follow_function("load_weights", lambda found, _: (found.get("model"), found.get("filepath")), loaded)
    _follow_function("save_model", lambda found, _: (found.get("model"), found.get("filepath")), saved)
    _follow_function("save_weights", lambda found, _: (found.get("model"), found.get("filepath")), saved)
    original = keras.Model.set_weights

    @functools.wraps(original)
    def set_weights(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not fits.is_running and tf.executing_eagerly():
            session.models.given_weights(self, "given weights by set_weights")
        return result

    keras.Model.set_weights = set_weights


def _follow_function(name: str, subject: Any, tell: Callable[[Any, str], None]) -> None:
    """A function of Keras' stands in several of its modules; a model's own method calls it there, too."""
    original = getattr(keras.saving, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def follow(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        model, path = subject(signature.bind(*args, **kwargs).arguments, result)
        if isinstance(path, str | os.PathLike) and isinstance(model, keras.Model):
            tell(model, os.fspath(path))
        return result

    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "keras" and vars(module).get(name) is original:
            setattr(module, name, follow)
