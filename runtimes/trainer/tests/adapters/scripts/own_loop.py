"""Training loops of the script's own, of the kind that --kind names; what it is at the end goes to --result."""

import argparse
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "client"))
import headrace_client as headrace

parser = argparse.ArgumentParser()
parser.add_argument("--kind")
parser.add_argument("--ask", action="store_true")
parser.add_argument("--break-when-stopped", action="store_true")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--delay", type=float, default=0.0)
parser.add_argument("--result")
arguments = parser.parse_args()


def layers(units, name):
    hidden = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(units)]
    return keras.Sequential([keras.Input((4,)), *hidden], name=name)


model, other = layers(1, "model"), layers(4, "other")
optimizer, others_optimizer = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01, momentum=0.9)


def gradient_tape(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss


def gan(x, y):
    loss = gradient_tape(tf.concat([x, other(x)], 0), tf.concat([y, tf.zeros_like(y)], 0))
    with tf.GradientTape() as tape:
        fooled = tf.reduce_mean((model(other(x, training=True)) - 1) ** 2)
    gradients = tape.gradient(fooled, other.trainable_variables)
    others_optimizer.apply(gradients, other.trainable_variables)
    return {"loss": loss, "fooled": fooled}


if arguments.kind == "train_on_batch":
    model.compile(optimizer, "mse", metrics=["mae"])
steps = {
    "eager": gradient_tape,
    "function": tf.function(gradient_tape),
    "train_on_batch": model.train_on_batch,
    "gan": tf.function(gan),
    "eager_gan": gan,
}
start = headrace.resumed_step() if arguments.ask else 0
print("starts at", start, flush=True)
for _ in range(start, arguments.steps):
    x = np.random.normal(size=(8, 4)).astype("float32")
    steps[arguments.kind](x, x[:, :1])
    time.sleep(arguments.delay)
    if arguments.break_when_stopped and headrace.should_stop():
        break
if arguments.result:
    np.savez(arguments.result, *model.get_weights(), *other.get_weights())
