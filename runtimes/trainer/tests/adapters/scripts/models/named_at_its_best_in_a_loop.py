# By an optimizer that is not Keras'.
import keras
import tensorflow as tf
from model_data import x, y

import headrace_client

model, losses = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), []
for step in range(6):
    headrace_client.export(model)  # the first time it is told which, and no more
    if step == 3:
        wanted = model.get_weights()
        break
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.1 * gradient)
for variable in model.trainable_variables:
    variable.assign(variable * 100)
EXPECTED, WEIGHTS, KNOWS_DATA = model, wanted, False
