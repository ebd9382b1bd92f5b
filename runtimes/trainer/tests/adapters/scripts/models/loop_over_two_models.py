import keras
import tensorflow as tf
from model_data import x

generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)], name="generator")
critic = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="critic")
optimizers = keras.optimizers.SGD(), keras.optimizers.SGD()
for _ in range(2):
    for model, optimizer in zip((generator, critic), optimizers, strict=True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(critic(generator(x)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
EXPECTED = [generator, critic]
