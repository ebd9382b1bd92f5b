"""Several workers: the whole unchanged script under a MultiWorkerMirroredStrategy, equal to one worker with the same
batches.

Keras 3's `fit` fails under this strategy (keras-team/keras issue 20585): its symbolic build reduces a batch that lies
on several workers, and per-replica logs are reduced along an axis that scalars do not have. Both are replaced here
(the build under every strategy, see `build_from_description`). The train step weighs each worker's gradients by its
share of the batch, so that uneven last batches count as on one worker. A train step of the script's own is left alone.

Saving must happen on all workers at the same step (a metric is summed over the workers when it is read), and so must
stopping: they vote.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.losses import loss as loss_module
from keras.src.trainers.data_adapters.data_adapter_utils import unpack_x_y_sample_weight

from headrace_trainer.adapters.refusal import Refusal

KNOWN_KERAS = ("3.15.",)
_VOTE_SECONDS = 0.25
_MOST_STEPS_BETWEEN_VOTES = 64


def scope() -> AbstractContextManager[object]:
    """Joins the cluster that TF_CONFIG names; the script runs inside of the result."""
    if not keras.__version__.startswith(KNOWN_KERAS):
        known = ", ".join(f"{version}x" for version in KNOWN_KERAS)
        raise Refusal(
            f"training on several workers is known to be correct with Keras {known} only, and this is "
            f"Keras {keras.__version__}",
            "Use the release's trainer image, or one worker.",
        )
    result: AbstractContextManager[object] = tf.distribute.MultiWorkerMirroredStrategy().scope()
    return result


def install() -> None:
    """Replaces what fails, and the train step."""
    install_train_step()
    keras_trainer.reduce_per_replica = functools.partial(_reduce_per_replica, keras_trainer._multi_worker_concat)


def install_train_step() -> None:
    """Replaces the train step of a model that has none of its own."""
    keras_trainer.TensorFlowTrainer.train_step = _train_step


@dataclass(frozen=True)
class Outcome:
    """What all workers do now, and after how many steps they vote again."""

    stop: bool
    save: bool
    steps_to_next_vote: int


def vote(stop: bool, save: bool, seconds_per_step: float) -> Outcome:
    """One vote; every worker must take part at the same step. One that wants it is enough."""
    ballot = tf.constant([float(stop), float(save), seconds_per_step])
    stops, saves, seconds = _counted(ballot).numpy()
    mean = max(float(seconds) / tf.distribute.get_strategy().num_replicas_in_sync, 1e-6)
    steps = min(max(int(_VOTE_SECONDS / mean), 1), _MOST_STEPS_BETWEEN_VOTES)
    return Outcome(stop=stops > 0, save=saves > 0, steps_to_next_vote=steps)


@tf.function(autograph=False)  # type: ignore[untyped-decorator]
def _counted(ballot: Any) -> Any:
    strategy = tf.distribute.get_strategy()
    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, (ballot,)), axis=None)


def build_from_description(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
    """In place of Keras' `_maybe_symbolic_build`, which takes a batch to build a model under a strategy: that shifts
    the order of the data, and an iterator that is to be resumed would be resumed here.
    """
    if self._distribute_strategy is None:
        return
    if data_batch is None:
        data_batch = iterator._distributed_dataset.element_spec
    with self.distribute_strategy.scope():
        self._symbolic_build(data_batch=tf.nest.map_structure(_symbolic, data_batch))


def _symbolic(part: Any) -> Any:
    """A tensor, or the description of one; of one replica's where there are several."""
    if part is None:
        return None
    if isinstance(part, tf.distribute.DistributedValues):
        part = part.values[0]
    one = getattr(part, "_value_specs", (part,))[0]
    return keras.KerasTensor((None, *one.shape[1:]), one.dtype.name)


def _reduce_per_replica(concat: Any, values: Any, strategy: Any, reduction: str) -> Any:
    """Predictions are put together from all workers; logs are the same on each."""

    def reduce(value: Any) -> Any:
        if reduction == "concat" and keras_trainer._collective_all_reduce_multi_worker(strategy):
            return concat(value, strategy)
        if not isinstance(value, tf.distribute.DistributedValues):
            return value
        return strategy.experimental_local_results(value)[0]

    return tf.nest.map_structure(reduce, values)


def _train_step(self: Any, data: Any) -> Any:
    """Keras' own step, with the loss weighed by the share of the batch that this replica has."""
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        prediction = self(x, training=True) if self._call_has_training_arg else self(x)
        loss = self._compute_loss(x=x, y=y, y_pred=prediction, sample_weight=sample_weight, training=True)
        size = tf.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
        self._loss_tracker.update_state(loss_module.unscale_loss_for_distribution(loss), sample_weight=size)
        replica = tf.distribute.get_replica_context()
        share = tf.cast(size, loss.dtype)
        whole = replica.all_reduce(tf.distribute.ReduceOp.SUM, share)
        loss = self.optimizer.scale_loss(loss * (share * replica.num_replicas_in_sync / whole))
    weights = self.trainable_weights
    self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    return self.compute_metrics(x, y, prediction, sample_weight=sample_weight)
