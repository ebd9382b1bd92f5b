"""A model as Keras keeps it, to be trained on with: the same bytes for the same model. And one that the script has
written, read with what the script has made itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.saving import saving_lib

from headrace_trainer.adapters.keras.export.servable import ExportError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can have
_DESCRIPTIONS = ("metadata.json", "config.json")
_SHARED = "shared_object_id"
_MISSING = re.compile(r"Could not locate (class|function) '([^']+)'")
_MOST_WORDS = 200
_ENOUGH = "_MEMORY_UPPER_BOUND"  # which share of the machine's memory the weights may have


class CannotBeRead(ValueError):
    """Keras makes no model of a file; the message says what the script can do."""


def read(path: Path, own: Mapping[str, Any], *, safe_mode: bool) -> Any:
    """`own` has the script's classes and functions by their names. The optimizer comes along where that can be; a loss
    or a metric that cannot be found is nothing that an export needs. Raises CannotBeRead.
    """
    given = {"custom_objects": dict(own), "safe_mode": safe_mode}
    try:
        return keras.saving.load_model(path, **given)
    except Exception:  # noqa: BLE001 - Keras, and the script's classes, raise whatever they meet
        try:
            return keras.saving.load_model(path, compile=False, **given)
        except Exception as error:
            raise CannotBeRead(_in_words(path, error)) from error


def _in_words(path: Path, error: Exception) -> str:
    missing = _MISSING.search(str(error))
    if missing is None:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_WORDS]}"
        advice = "Hand the model itself over: headrace_client.export(model)."
    else:
        kind, name = missing.groups()
        what = f"it has a {kind} {name} that is not found among the script's names"
        advice = (
            f"Decorate {name} with @keras.saving.register_keras_serializable(), or hand the model itself over: "
            "headrace_client.export(model)."
        )
    return f"no model can be made of {path}, which headrace_client.export was given: {what}. {advice}"


def write(model: Any, path: Path) -> None:
    """Raises ExportError where the file, loaded again, has other weights; and what Keras raises for a model that it
    cannot keep.
    """
    made = path.with_name("as-made.keras")
    with _by_way_of_the_disk():
        model.save(made)
    _without_dates(made, path)
    made.unlink()
    own = {type(layer).__name__: type(layer) for layer in [model, *model._flatten_layers(include_self=False)]}
    own = {name: kind for name, kind in own.items() if not kind.__module__.startswith("keras.")}
    # The script's own classes, and its lambdas, are at hand here; whoever loads the file has to have them, too.
    with _by_way_of_the_disk():
        loaded = keras.saving.load_model(path, custom_objects=own, compile=False, safe_mode=False)
    pairs = zip(model.weights, loaded.weights, strict=False)
    if len(model.weights) != len(loaded.weights) or not all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs):
        raise ExportError(
            "the .keras file, loaded again, has other weights: a layer of the script keeps some of its own"
        )


@contextlib.contextmanager
def _by_way_of_the_disk() -> Iterator[None]:
    """Keras would copy all weights in memory once more, where the machine has enough of it, whatever the pod has."""
    before = getattr(saving_lib, _ENOUGH, None)
    if before is None:  # another Keras
        yield
        return
    setattr(saving_lib, _ENOUGH, 0.0)
    try:
        yield
    finally:
        setattr(saving_lib, _ENOUGH, before)


def _without_dates(made: Path, path: Path) -> None:
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(path, "w") as target:
        for entry in sorted(source.infolist(), key=lambda entry: entry.filename):
            fixed = zipfile.ZipInfo(entry.filename, _EPOCH)
            if entry.filename in _DESCRIPTIONS:
                description = json.loads(source.read(entry))
                description.pop("date_saved", None)
                _number_shared(description, {})
                target.writestr(fixed, json.dumps(description))
                continue
            with source.open(entry) as content, target.open(fixed, "w", force_zip64=True) as copy:
                while block := content.read(1 << 20):
                    copy.write(block)


def _number_shared(value: Any, numbers: dict[int, int]) -> None:
    """What several layers share is told by its address in this process: here by its number, in order of appearance."""
    if isinstance(value, dict):
        if isinstance(value.get(_SHARED), int):
            value[_SHARED] = numbers.setdefault(value[_SHARED], len(numbers) + 1)
        for part in value.values():
            _number_shared(part, numbers)
    elif isinstance(value, list):
        for part in value:
            _number_shared(part, numbers)
