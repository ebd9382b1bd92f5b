"""The Keras adapter in a process whose CPU is divided into two devices, as a pod has two GPUs."""

import sys

import tensorflow as tf

from headrace_trainer.adapters.keras.adapter import KERAS
from headrace_trainer.adapters.main import main

if __name__ == "__main__":
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    sys.exit(main(KERAS, sys.argv[1:]))
