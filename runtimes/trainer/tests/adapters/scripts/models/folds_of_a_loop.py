import keras
import tensorflow as tf
from model_data import build, training

for fold in range(3):
    model = build(f"fold_{fold}")
    optimizer = keras.optimizers.SGD()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(training[0]) - training[1]) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
EXPECTED = model
KNOWS_DATA = False
DROPPED = 2
