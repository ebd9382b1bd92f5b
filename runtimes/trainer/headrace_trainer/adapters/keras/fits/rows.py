"""Rows of the training data: an exported model is compared on what it was trained on.

Made-up numbers may lie outside of what a model takes (a logarithm, a vocabulary); rows of its own data do not. Of
arrays and of generators, whose first batches Keras keeps, rows are copied when the fit ends. A pipeline is asked when
the model is exported: to read from it earlier would change what it draws for a later fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.generator_data_adapter import GeneratorDataAdapter
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter

from headrace_trainer.adapters.keras.fits import data as keras_data
from headrace_trainer.adapters.streams import message_of, say

MAX_ROWS = 8
MAX_BYTES = 16 * 2**20
_DRAWING = ("Shuffle", "Random", "Sample", "PyFunc", "Generator")


@dataclass(frozen=True)
class Rows:
    """Gives x, packed as the script feeds it, or None. `are_same`: in each attempt, whatever was drawn before."""

    take: Callable[[], Any]
    are_same: bool = True

    def __call__(self) -> Any:
        return self.take()


def described(iterator: Any) -> tuple[Any, Rows]:
    """What an iterator of Keras' feeds: its element spec, and rows of it."""
    return iterator._distributed_dataset.element_spec, of_adapter(iterator.data_adapter)


def of_adapter(adapter: Any) -> Rows:
    """The rows of a fit's data."""
    if isinstance(adapter, ArrayDataAdapter):
        return of_batch(adapter._inputs)
    if isinstance(adapter, GeneratorDataAdapter):
        return of_batch(adapter._first_batches[0])
    return Rows(lambda: _told(lambda: _first_rows(_pull(adapter))), not _draws(adapter))


def at_hand(adapter: Any) -> Rows | None:
    """The rows of a fit's data while it goes on: None where the data would have to be asked for them."""
    return of_adapter(adapter) if isinstance(adapter, ArrayDataAdapter | GeneratorDataAdapter) else None


def of_batch(batch: Any) -> Rows:
    """The rows of a batch (x, y, weights), copied now."""
    rows = _told(lambda: _first_rows(batch))
    return Rows(lambda: rows)


def _draws(adapter: Any) -> bool:
    """Whether it gives others each time that it is asked, or may: a PyDataset is Python code of the script's."""
    if isinstance(adapter, PyDatasetAdapter):
        return True
    for dataset in keras_data.stages(adapter):
        operations = [
            operation.type
            for function in dataset._functions()
            for operation in function.function.graph.get_operations()
        ]
        if any(word in name for name in (type(dataset).__name__, *operations) for word in _DRAWING):
            return True
    return False


def _pull(adapter: Any) -> Any:
    if isinstance(adapter, PyDatasetAdapter):
        return adapter.py_dataset[0]
    if isinstance(adapter, TFDatasetAdapter):
        return next(iter(adapter.get_tf_dataset().take(1)))
    raise TypeError(f"data of {type(adapter).__name__}")


def _first_rows(batch: Any) -> Any:
    x = batch[0] if isinstance(batch, tuple) else batch
    return keras.tree.map_structure(_first_rows_of, x)


def _first_rows_of(values: Any) -> np.ndarray[Any, Any]:
    one = tf.convert_to_tensor(values[:1])
    size = max(1, int(np.prod(one.shape)) * (one.dtype.size or 1))
    return np.array(tf.convert_to_tensor(values[: max(1, min(MAX_ROWS, MAX_BYTES // size))]))


def _told(take: Callable[[], Any]) -> Any:
    """The rows, or None where the data gives none any more: the script's own code is asked, whatever it raises is no
    reason to lose the model.
    """
    try:
        return take()
    except Exception as error:  # noqa: BLE001 - see above
        why = f"{type(error).__name__}: {message_of(error)}"
        say(f"headrace: no rows of the training data for the check of the export: {why}")
        return None
