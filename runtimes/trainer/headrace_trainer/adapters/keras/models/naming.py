"""headrace_client.export in a script that Keras is followed in: which model is meant, and what it is by then."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import keras

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters.keras.export import file
from headrace_trainer.adapters.keras.models import weights
from headrace_trainer.adapters.keras.models.living import alive, layers_of, trainable_of
from headrace_trainer.adapters.keras.models.named_weights import FILE, NamedBefore, NamedWeights
from headrace_trainer.adapters.models import Models
from headrace_trainer.adapters.own_files import was_written_since
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.streams import say

_MODEL_FILES = (".keras", ".h5", ".hdf5")
# What these have a file says in another way.
_LIBRARIES = {"keras", "tensorflow", "builtins", "numpy", "headrace_client"}


def name_model(session: Session, model: Any, format_: str | None) -> None:
    """headrace_client.export in a script that Keras is followed in. One that was trained by now is meant as it is now,
    one that is still to be trained as it will be. Raises TypeError or ValueError for what is not a model,
    FileNotFoundError for a file that is not there. That Keras cannot make a model of a file is no reason to end a
    script that has trained for hours: it is told at its end, in place of the model.
    """
    models = session.models
    if format_ is not None:
        raise ValueError("in a job of framework Keras the formats are those of spec.output.formats: leave `format` out")
    problem = ""
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix not in _MODEL_FILES:
            raise ValueError(f"{path}: in a job of framework Keras a model, or a .keras file, is handed over")
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        trained = [one for one, _ in models.candidates()]
        is_own = was_written_since(path, session.began)
        try:
            model = file.read(path, own_objects(sys.modules["__main__"], trained), safe_mode=not is_own)
        except file.CannotBeRead as error:
            model, problem = None, str(error)
            say(f"headrace: {problem}")
    elif not isinstance(model, keras.Model):
        raise TypeError(f"a {type(model).__name__} is no Keras model, and not the path of a .keras file")
    is_to_be_kept = not problem and _was_trained(models, model)
    before, models.kept = models.kept, None
    if isinstance(before, NamedWeights):
        before.forget()
    models.named, models.cannot_be_read, models.named_at = model, problem, session.files.times_put_back
    if is_to_be_kept:
        with_optimizer = Format.KERAS in session.settings.formats
        of_same = before if isinstance(before, NamedWeights) and before.is_of(model) else None
        models.kept = NamedWeights(model, with_optimizer=with_optimizer, before=of_same)
    elif not problem:
        models.named_print = weights.print_of(model)


def _was_trained(models: Models, model: Any) -> bool:
    """Itself, or what it has layers of; or its weights are not those with which it was named before, whoever has
    changed them.
    """
    trained = models.trained_by_now
    if any(one is model for one in trained):
        return True
    if models.named is model and (models.kept is not None or models.named_print != weights.print_of(model)):
        return True
    own = {id(variable) for variable in trainable_of(model)}
    return any(own & {id(variable) for variable in trainable_of(one)} for one in trained)


def put_back_what_was_named(session: Session) -> bool:
    """The named model has the weights that it had then. Whether it had been trained further."""
    models = session.models
    _find_kept_before(session)
    if models.kept is None:
        return False
    trained_on = weights.print_of(models.named) != models.kept.weights
    models.kept.put_back()
    return trained_on


def _find_kept_before(session: Session) -> None:
    """What an earlier attempt has named at its best counts where this one did not come to do so again: its callbacks
    were not called for the epochs that it passed over.
    """
    models, path = session.models, session.files.root / FILE
    is_newer = session.has_named_here and (models.kept is not None or models.cannot_be_read)
    if is_newer or not session.files.carries(FILE) or not path.is_file():
        return
    try:
        kept = NamedBefore(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        session.messages.warn("model", f"what an earlier attempt has named cannot be read: {error}")
        return
    found = kept.find([models.named] if models.named is not None else alive())
    if found is not None:
        models.named, models.kept, models.cannot_be_read = found, kept, ""
    elif models.named is None:
        session.messages.warn("model", "what an earlier attempt has named is no model that the script still has")


def own_objects(main: ModuleType, models: Iterable[Any]) -> dict[str, Any]:
    """What the script has made itself, or imported from its own modules, by the name that a file of a model has."""
    classes = [type(layer) for model in models for layer in [model, *layers_of(model)]]
    values = [value for value in list(vars(main).values()) if isinstance(value, type | FunctionType)]
    found = {value.__name__: value for value in [*classes, *values]}
    return {name: value for name, value in found.items() if str(value.__module__).partition(".")[0] not in _LIBRARIES}
