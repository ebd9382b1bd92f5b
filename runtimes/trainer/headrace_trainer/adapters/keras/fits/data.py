"""The order of the training data: another one in each epoch, the same in each run, and found again in the middle of a
resumed fit.

Three methods of Keras' TFEpochIterator are replaced, and one of its adapter of arrays; all of them do what Keras does
unless the iterator belongs to a fit that we follow. To resume, the iterators of the epochs that are done are made again
(tf.data draws the next seed of a shuffle at each `iter`), their batches are pulled only where somebody else would miss
them, and the batches done of the current epoch are passed over.

That may take as long as `replay` allows; what is not pulled by then is not missed any more: the data goes on from
where it is, and the resume is not exact (`Session.lost`). Arrays are in memory and cost nothing to pass over.
Where nothing is to be gone through again (Fast), the checkpoint has the state of the iterator, if that can be saved
(data_state): then nothing is lost.

The first batch that is passed over is trained on: that creates every variable (of the model, its metrics, the
optimizer) in the way and with the random numbers of an ordinary first step. What the step changed is overwritten by
the checkpoint.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TFEpochIterator
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.generator_data_adapter import GeneratorDataAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter
from keras.src.utils.rng_utils import get_random_seed
from tensorflow.python.distribute import distribute_lib

from headrace_trainer.adapters.checkpoint import CheckpointError
from headrace_trainer.adapters.keras.fits import data_state
from headrace_trainer.adapters.keras.state import random as keras_random
from headrace_trainer.adapters.session import FitRun

# Operations that run Python code of the script: it may draw random numbers, so it must run as often as it did.
PYTHON_OPERATIONS = frozenset({"PyFunc", "EagerPyFunc", "PyFuncStateless", "GeneratorDataset"})

_PROGRESS_SECONDS = 0.5

_init = TFEpochIterator.__init__
_get_tf_dataset = ArrayDataAdapter.get_tf_dataset
_get_iterator = TFEpochIterator._get_iterator
_enumerate_iterator = TFEpochIterator._enumerate_iterator


@dataclass(frozen=True)
class ReplayLimit:
    """How long data may be gone through again; who hears how far that is (the fit, its epoch and step), and why it has
    ended too early.
    """

    seconds: float
    tell: Callable[[FitRun, int, int], None]
    lose: Callable[[str], None]


class DataOrder:
    """Replaces the methods; `claim` gives the fit that an iterator is made for, `resume` puts the checkpoint into its
    model.
    """

    def __init__(
        self, seed: int, claim: Callable[[], FitRun | None], resume: Callable[[FitRun], None], replay: ReplayLimit
    ) -> None:
        self._seed = seed
        self._claim = claim
        self._resume = resume
        self._replay = replay
        self._watched: list[Any] | None = None
        self._passes: dict[int, Any] = {}  # by thread

    @contextmanager
    def watch(self) -> Iterator[list[Any]]:
        """The iterators that are made meanwhile: what an evaluation is fed with."""
        made: list[Any] = []
        self._watched = made
        try:
            yield made
        finally:
            self._watched = None

    @contextmanager
    def _shuffling(self, run: FitRun | None) -> Iterator[Any]:
        """Meanwhile, in this thread, Keras makes its pipeline of arrays with our order in it: the variable of the
        result. To make it again would take longer than a short fit trains.
        """
        # A strategy would take a dataset that reads a variable for one that cannot be sharded.
        if run is None or run.model.distribute_strategy is not distribute_lib._get_default_strategy():
            yield None
            return
        here = threading.get_ident()
        self._passes[here] = passes = _new_passes()
        try:
            yield passes
        finally:
            del self._passes[here]

    def install(self) -> None:
        """From here on each training iterator belongs to its fit."""
        order = self

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            run = order._claim()
            with order._shuffling(run) as passes:
                _init(self, *args, **kwargs)
            if order._watched is not None:
                order._watched.append(self)
            self._headrace_run = run
            if run is not None:
                run.iterator = self
                self._headrace_data = _SeededArrays.of(self, order._seed, run, passes)

        def get_iterator(self: Any) -> Any:
            run: FitRun | None = self._headrace_run
            if run is None or self._headrace_data is None or _is_thrown_away(self):
                return _get_iterator(self)
            return self._headrace_data.next_order()

        def enumerate_iterator(self: Any) -> Iterator[tuple[int, int, Any]]:
            run: FitRun | None = self._headrace_run
            if run is not None and run.finished is not None:
                rewind = _Rewind(self, run, run.finished.state["numBatches"], order._replay)
                rewind.replay_epochs(run.finished.state["epochs"])
            elif run is not None and run.resumed is not None:
                yield from order._resumed_epoch(self, run)
            else:
                for begin, end, batches in _enumerate_iterator(self):
                    self._headrace_batches = weakref.ref(batches)  # one more reference would be its long life
                    yield begin, end, batches

        def get_tf_dataset(self: Any) -> Any:
            passes = order._passes.get(threading.get_ident())
            return _array_dataset(self) if passes is None else _shuffled(self, passes)

        TFEpochIterator.__init__ = __init__
        ArrayDataAdapter.get_tf_dataset = get_tf_dataset
        TFEpochIterator._get_iterator = get_iterator
        TFEpochIterator._enumerate_iterator = enumerate_iterator

    def _resumed_epoch(self, iterator: Any, run: FitRun) -> Iterator[tuple[int, int, Any]]:
        assert run.resumed is not None
        position = run.resumed.position
        arrays = run.resumed.arrays
        has_state = data_state.is_in(arrays) and not run.resumed.state.get("dataEnded")
        limit = dataclasses.replace(self._replay, lose=lambda _why: None) if has_state else self._replay
        rewind = _Rewind(iterator, run, run.resumed.state["numBatches"], limit)
        epochs = position.epoch - run.resumed.state["firstEpoch"]
        before = keras_random.of_python()
        if run.resumed.state.get("dataEnded"):
            # To ask for one more batch of data whose size is not known draws random numbers: the checkpoint has them.
            rewind.replay_epochs(epochs + 1)
            self._go_on(run, before)
            return
        rewind.replay_epochs(epochs)
        waiting = True
        for begin, end, batches in _enumerate_iterator(iterator):
            if begin < position.batches:
                rewind.pass_over(batches)
                continue
            if waiting:
                waiting = False
                if has_state and not data_state.put_back(batches, arrays):
                    self._replay.lose("the state of the data is not that of this pipeline: it began anew")
                self._go_on(run, before)
            iterator._headrace_batches = weakref.ref(batches)
            yield begin, end, batches
        if waiting:
            self._go_on(run, before)

    def _go_on(self, run: FitRun, before: tuple[Any, ...]) -> None:
        """`before` has where the generators stood when the data had not been gone through."""
        run.data_drew = may_draw_in_python(run.iterator) and keras_random.of_python() != before
        self._resume(run)


class _SeededArrays:
    """Arrays shuffled by a seed for each pass. Under a global seed, Keras' own has the same order in every epoch."""

    def __init__(self, iterator: Any, seed: int, run: FitRun, passes: Any) -> None:
        self._adapter = iterator.data_adapter
        self._strategy = iterator._distribute_strategy
        self._run = run
        # The script's own seed, where it has set one, decides about its data as well.
        own = get_random_seed()
        self._base = ((seed if own is None else own) % 2**31) * 1_000_003 + run.index
        self._is_distributed = self._strategy.num_replicas_in_sync > 1
        self._order, self._dataset = passes, iterator._distributed_dataset
        if passes is None and not self._is_distributed:
            self._order = _new_passes()
            self._dataset = _shuffled(self._adapter, self._order)

    @staticmethod
    def of(iterator: Any, seed: int, run: FitRun, passes: Any) -> _SeededArrays | None:
        """None for data that brings its own order. `passes` is what the iterator's pipeline reads its order from, where
        that is ours.
        """
        adapter = iterator.data_adapter
        if not isinstance(adapter, ArrayDataAdapter) or not adapter._shuffle:
            return None
        return _SeededArrays(iterator, seed, run, passes)

    def next_order(self) -> Any:
        """The data in the order of the next pass."""
        self._run.iterators_made += 1
        if self._is_distributed:
            # Each replica gets its share. A dataset that reads a variable cannot be sharded: it is built for each pass.
            order = tf.constant([self._base, self._run.iterators_made], tf.int64)
            return self._strategy.experimental_distribute_dataset(_shuffled(self._adapter, order))
        self._order.assign([self._base, self._run.iterators_made])
        return self._dataset


def _array_dataset(adapter: Any) -> Any:
    """Keras' own pipeline of arrays, without TensorFlow's tuner, which has nothing to tune in it: the end of an epoch
    waits for its thread, which may sleep for seconds (docs/decisions/0033).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return _get_tf_dataset(adapter).with_options(options)


def _new_passes() -> Any:
    return tf.Variable([0, 0], dtype=tf.int64, trainable=False)


def _shuffled(adapter: Any, order: Any) -> Any:
    def shuffle(value: Any, seed: None = None, name: None = None) -> Any:
        return tf.random.experimental.stateless_shuffle(value, seed=order)

    keras_shuffle = tf.random.shuffle
    tf.random.shuffle = shuffle
    try:
        return _array_dataset(adapter)
    finally:
        tf.random.shuffle = keras_shuffle


def _is_thrown_away(iterator: Any) -> bool:
    """Keras makes an iterator at the end of each epoch, and uses it only where `steps_per_epoch` is given."""
    return (
        iterator.steps_per_epoch is None
        and bool(iterator._num_batches)
        and iterator._steps_seen >= iterator._num_batches
    )


class _Rewind:
    """Brings a new iterator to where the interrupted run's was, as far as the time allows."""

    def __init__(self, iterator: Any, run: FitRun, batches_per_epoch: int | None, limit: ReplayLimit) -> None:
        self._iterator = iterator
        self._run = run
        self._batches_per_epoch = batches_per_epoch
        self._limit = limit
        self._is_free = isinstance(iterator.data_adapter, ArrayDataAdapter)
        self._has_trained = False
        self._epoch = 0
        self._pulled = 0
        self._began = self._told = time.monotonic()

    def replay_epochs(self, epochs: int) -> None:
        """Goes through epochs that are done."""
        fills_cache = _has_cache(self._iterator)
        pulls_all = self._iterator.steps_per_epoch is not None or runs_python(self._iterator)
        for epoch in range(epochs):
            self._epoch = epoch
            self._replay_epoch(pulls=pulls_all or (fills_cache and epoch == 0))
        self._epoch = epochs

    def _replay_epoch(self, pulls: bool) -> None:
        iterator = self._iterator
        knows_its_end = bool(iterator.steps_per_epoch or iterator.data_adapter.num_batches)
        passes = _enumerate_iterator(iterator)
        for _, _, batches in passes:
            if (pulls and not self._is_late()) or not self._has_trained:
                if self._pull(batches):
                    continue
            elif knows_its_end:
                continue
            # The data ends when a batch more is asked for. What Keras does then is done here.
            passes.close()
            iterator._num_batches = iterator._num_batches or self._batches_per_epoch
            iterator._current_iterator = None
            iterator.data_adapter.on_epoch_end()
            return

    def pass_over(self, batches: Any) -> None:
        """Takes the batches of one execution."""
        if self._has_trained and self._is_late():
            return
        if not self._pull(batches):
            raise CheckpointError("there is less training data than when the checkpoint was taken")

    def _pull(self, batches: Any) -> bool:
        """Takes the batches of one execution, trains on the very first ones; False at the end of the data."""
        try:
            if self._has_trained:
                for _ in range(self._iterator.steps_per_execution):
                    next(batches)
            else:
                self._run.model.train_function(batches)
                self._has_trained = True
        except (StopIteration, tf.errors.OutOfRangeError):
            return False
        self._pulled += self._iterator.steps_per_execution
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._limit.tell(self._run, self._epoch, self._pulled)
        return True

    def _is_late(self) -> bool:
        """Whether no more time is left: then the data stands somewhere else."""
        if self._is_free or time.monotonic() - self._began < self._limit.seconds:
            return False
        self._limit.lose(self._why_late())
        return True

    def _why_late(self) -> str:
        if not self._limit.seconds:
            return "checkpoint.resume is Fast: the data began anew"
        return (
            f"the data stands behind {self._pulled} batches only: the time of checkpoint.maxReplay, "
            f"{self._limit.seconds:g} s, was over"
        )


def stages(adapter: Any) -> Iterator[Any]:
    """The datasets of the script's own tf.data pipeline, the last one first."""
    pending = [adapter.get_tf_dataset()] if isinstance(adapter, TFDatasetAdapter) else []
    while pending:
        dataset = pending.pop()
        if isinstance(dataset, tf.data.Dataset):
            yield dataset
            pending += dataset._inputs()


def runs_python(iterator: Any) -> bool:
    """Whether pulling a batch runs Python code of the script. (A PyDataset is asked by index: nothing is missed.)"""
    if isinstance(iterator.data_adapter, GeneratorDataAdapter):
        return True
    return any(
        operation.type in PYTHON_OPERATIONS
        for dataset in stages(iterator.data_adapter)
        for function in dataset._functions()
        for operation in function.function.graph.get_operations()
    )


def may_draw_in_python(iterator: Any) -> bool:
    """Whether the script's own code makes the batches: it may draw from Python's and numpy's generators."""
    adapter = iterator.data_adapter
    return not isinstance(adapter, ArrayDataAdapter) and (
        not isinstance(adapter, TFDatasetAdapter) or runs_python(iterator)
    )


def _has_cache(iterator: Any) -> bool:
    return any(type(dataset).__name__ == "CacheDataset" for dataset in stages(iterator.data_adapter))
