import keras
import tensorflow as tf
from model_data import build, training


def main():
    model = build(name="of_main")
    optimizer = keras.optimizers.Adam()

    @tf.function
    def step(features, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(features, training=True) - labels) ** 2)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    for _ in range(3):
        step(*training)


main()
NAME = "of_main"
KNOWS_DATA = False
