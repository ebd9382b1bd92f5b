"""A training loop of the script's own, compiled; then an error in the user's code, called through Keras."""

import keras
import tensorflow as tf

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.1)


@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply_gradients(
        zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
    )


for _ in range(5):
    step(tf.ones((4, 3)))


class Faulty(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise ValueError("a fault of the script")


model.compile("sgd", "mse")
model.fit(tf.ones((4, 3)), tf.ones((4, 1)), callbacks=[Faulty()])
