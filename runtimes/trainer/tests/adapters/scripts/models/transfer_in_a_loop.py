# The classifier shares its base with another model.
import keras
import tensorflow as tf
from model_data import training

inputs = keras.Input((4,))
base = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="base")
model = keras.Model(base.input, keras.layers.Dense(1)(base.output), name="classifier")
optimizer = keras.optimizers.SGD()
before = [weight.copy() for weight in model.get_weights()]
for _ in range(2):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(training[0]) - training[1]) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), (v for v in model.trainable_variables))
assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
EXPECTED = model
KNOWS_DATA = False
