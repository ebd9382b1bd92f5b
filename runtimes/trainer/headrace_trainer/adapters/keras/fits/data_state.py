"""The state of tf.data's iterator: where the data stands, with what a shuffle holds. With it a resume goes on with the
next batch at once, and nothing is gone through again.

It is a part of a checkpoint's arrays where it can be had: not with Python code or random operations in the pipeline (of
these TensorFlow itself refuses to save the state), and up to 64 MiB, which is looked at before, as far as that can be
told, and after.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.data.ops.iterator_ops import OwnedIterator

from headrace_trainer.adapters.arrays import Array

_LIMIT = 64 << 20
_PREFIX = "iterator-"
_NAME = "state"
_BYTES_OF_TEXT = 1024  # a guess


class IteratorStates:
    """Of the iterators of one fit. What has failed once is not tried again."""

    def __init__(self, scratch: Path | None) -> None:
        self._scratch = scratch
        self._can_be_had = scratch is not None

    def saved(self, batches: Any, stages: Iterator[Any]) -> dict[str, Array]:
        """The state of an iterator over a pipeline of these datasets; empty where it cannot be had."""
        if not self._can_be_had:
            return {}
        if type(batches) is not OwnedIterator or _buffered(stages) > _LIMIT:
            self._can_be_had = False
            return {}
        self._scratch.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
        try:
            with tempfile.TemporaryDirectory(".partial", f".{_PREFIX}", self._scratch) as folder:
                tf.train.Checkpoint(iterator=batches).write(f"{folder}/{_NAME}")
                files = sorted(Path(folder).iterdir())
                if sum(file.stat().st_size for file in files) <= _LIMIT:
                    return {_PREFIX + file.name: np.fromfile(file, np.uint8) for file in files}
        except (tf.errors.OpError, OSError):
            pass  # Python code, random operations, a full disk
        self._can_be_had = False
        return {}


def is_in(arrays: Mapping[str, Array]) -> bool:
    """Whether a checkpoint has it."""
    return any(name.startswith(_PREFIX) for name in arrays)


def put_back(batches: Any, arrays: Mapping[str, Array]) -> bool:
    """Brings an iterator of the same pipeline to where it was; False where it cannot be (the pipeline is another)."""
    if type(batches) is not OwnedIterator:
        return False
    with tempfile.TemporaryDirectory() as folder:
        for name in arrays:
            if name.startswith(_PREFIX):
                arrays[name].tofile(Path(folder) / name.removeprefix(_PREFIX))
        try:
            tf.train.Checkpoint(iterator=batches).read(f"{folder}/{_NAME}").assert_consumed()
        except (tf.errors.OpError, AssertionError):
            return False
    return True


def _buffered(stages: Iterator[Any]) -> float:
    """How many bytes the pipeline may hold; infinite where that cannot be told."""
    return sum(_elements(stage) * _bytes(stage.element_spec) for stage in stages)


def _elements(stage: Any) -> float:
    kind = type(stage).__name__
    if kind in ("_ShuffleDataset", "ShuffleDataset"):
        return float(stage._buffer_size)
    if kind == "CacheDataset":
        known = int(stage.cardinality())
        return known if known >= 0 else math.inf
    return 0


def _bytes(spec: Any) -> float:
    return sum(
        math.prod(size or 1 for size in part.shape) * (part.dtype.size or _BYTES_OF_TEXT)
        if isinstance(part, tf.TensorSpec) and part.shape.rank is not None
        else math.inf
        for part in tf.nest.flatten(spec)
    )
