# DQN: the target is what the online network was some steps ago.
import keras
import tensorflow as tf
from model_data import x, y

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(1)], name="online")
target = keras.models.clone_model(model)
optimizer = keras.optimizers.Adam(0.01)


def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y - 0.5 * target(x)) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)


for number in range(9):
    if number % 4 == 0:
        target.set_weights(model.get_weights())
    step()
EXPECTED, KNOWS_DATA = model, False
