"""Loops of the script's own that use their optimizers in other ways than once an iteration, or that are several. What
was trained goes to --result.
"""

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
parser.add_argument("--delay", type=float, default=0.0)
parser.add_argument("--result")
arguments = parser.parse_args()
layers = keras.layers
kept = []


def begun(steps):
    """The iterations, as the script asks for them."""
    numbers = range(headrace.resumed_step(), steps) if arguments.ask else headrace.steps(steps)
    print("loop", flush=True)
    for i in numbers:
        print("i", i, flush=True)
        time.sleep(arguments.delay)
        yield i


def network(inputs, units, name=None, **last):
    return keras.Sequential([keras.Input((inputs,)), layers.Dense(8, "relu"), layers.Dense(units, **last)], name=name)


def normal(*shape):
    return np.random.normal(size=shape).astype("float32")


def fit_by_hand(model, optimizer, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return loss


def gan2():
    g, d = network(4, 2, "g"), network(2, 1, "d", activation="sigmoid")
    d.compile("adam", "binary_crossentropy")
    d.trainable = False
    gan = keras.Sequential([keras.Input((4,)), g, d], name="gan")
    gan.compile("adam", "binary_crossentropy")
    for _ in begun(40):
        d.train_on_batch(normal(8, 2), np.ones((8, 1)))
        d.train_on_batch(g(normal(8, 4)).numpy(), np.zeros((8, 1)))
        gan.train_on_batch(normal(8, 4), np.ones((8, 1)))
    kept.extend([g, d])


def wgan():
    g, c = network(4, 2), network(2, 1)
    of_g, of_c = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

    @tf.function
    def step(real, noise):
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(c(g(noise))) - tf.reduce_mean(c(real))
            of_c.apply(tape.gradient(loss, c.trainable_variables), c.trainable_variables)
        with tf.GradientTape() as tape:
            fooled = -tf.reduce_mean(c(g(noise)))
        of_g.apply(tape.gradient(fooled, g.trainable_variables), g.trainable_variables)
        return {"c": loss, "g": fooled}

    for _ in begun(40):
        step(normal(8, 2), normal(8, 4))
    kept.extend([g, c])


def delayed():
    actor, critic = network(4, 1, "actor"), network(4, 1, "critic")
    of_actor, of_critic = keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01)
    for i in begun(40):
        x = normal(8, 4)
        fit_by_hand(critic, of_critic, x, x[:, :1])
        if i % 2:
            fit_by_hand(actor, of_actor, x, critic(x))
    kept.extend([actor, critic])


def twoloops():
    encoder, decoder, head = network(4, 8, "encoder"), network(8, 4, "decoder"), network(8, 1, "head")
    for top in (decoder, head):
        both, optimizer = keras.Sequential([keras.Input((4,)), encoder, top]), keras.optimizers.Adam(0.01)
        for _ in begun(24):
            x = normal(8, 4)
            fit_by_hand(both, optimizer, x, x if top is decoder else x[:, :1])
    kept.extend([encoder, decoder, head])


def folds():
    x = np.random.default_rng(1).normal(size=(60, 4)).astype("float32")
    losses = []
    for _ in range(3):
        model, optimizer = network(4, 1), keras.optimizers.Adam(0.01)
        for _ in begun(16):
            fit_by_hand(model, optimizer, x, x[:, :1])
        losses.append(float(np.mean((model(x).numpy() - x[:, :1]) ** 2)))
        kept.append(model)
    print("losses", losses)


def dqn():
    model = network(4, 2)
    target = keras.models.clone_model(model)
    target.set_weights(model.get_weights())
    optimizer = keras.optimizers.Adam(0.01)
    for i in begun(50):
        # A loop that is not counted has its checkpoints after the optimizer's use, before what an iteration does then.
        if i % 5 == 0 and arguments.ask:
            target.set_weights(model.get_weights())
        x = normal(8, 4)
        fit_by_hand(model, optimizer, x, x[:, :2] + 0.9 * target(x))
        if i % 5 == 0 and not arguments.ask:
            target.set_weights(model.get_weights())
    kept.extend([model, target])


def ema():
    student, teacher = network(4, 1), network(4, 1)
    teacher.set_weights(student.get_weights())
    optimizer = keras.optimizers.Adam(0.01)

    @tf.function
    def step(x):
        loss = fit_by_hand(student, optimizer, x, x[:, :1])
        for one, other in zip(teacher.variables, student.variables, strict=True):
            one.assign(0.9 * one + 0.1 * other)
        return loss

    for _ in begun(40):
        step(normal(8, 4))
    kept.extend([student, teacher])


def lso():
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(16, "relu"), layers.Dense(1, dtype="float32")])
    inner = keras.optimizers.Adam(0.01)
    optimizer = keras.mixed_precision.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=10)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - x[:, :1]) ** 2)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        return loss

    for _ in begun(40):
        step(normal(8, 4))
    kept.append(model)
    print("scale", float(optimizer.dynamic_scale))


def accumulates():
    model = network(4, 1)
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
    eager = network(4, 1)
    of_eager = keras.optimizers.SGD(0.01, gradient_accumulation_steps=3)
    step = tf.function(lambda x: fit_by_hand(model, optimizer, x, x[:, :1]))
    for _ in begun(40):
        x = normal(8, 4)
        step(x)
        fit_by_hand(eager, of_eager, x, x[:, :1])
    kept.extend([model, eager])


def mirrored():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model, optimizer = network(4, 1), keras.optimizers.Adam(0.01)
    step = tf.function(lambda x: strategy.run(lambda: fit_by_hand(model, optimizer, x, x[:, :1])))
    for _ in begun(40):
        step(normal(8, 4))
    kept.append(model)


def unbuilt():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    model, optimizer = Own(), keras.optimizers.Adam(0.01)
    for _ in begun(40):
        x = normal(8, 4)
        fit_by_hand(model, optimizer, x, x[:, :1])
    kept.append(model)


globals()[arguments.kind]()
if arguments.result:
    np.savez(arguments.result, *[weight for model in kept for weight in model.get_weights()])
