"""Several devices of one pod: the whole unchanged script under a MirroredStrategy, equal to one device with the same
batches. The batch is divided among the devices; how uneven shares count is the train step of several workers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import tensorflow as tf

from headrace_trainer.adapters.keras.devices import workers


def scope() -> AbstractContextManager[object]:
    """What the script runs inside of: all GPUs that TensorFlow sees, or without any its CPU devices (there is one,
    unless somebody has divided it).
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    workers.install_train_step()
    result: AbstractContextManager[object] = tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    return result
