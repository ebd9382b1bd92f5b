# A loss, a metric, a layer and an activation of the script's own, none of them registered.
import keras
from model_data import training, validation

import headrace_client


def pinball(y, predicted):
    return keras.ops.mean(keras.ops.maximum(0.9 * (y - predicted), -0.1 * (y - predicted)))


class Half(keras.metrics.Mean):
    def update_state(self, y, predicted, sample_weight=None):
        return super().update_state(0.5 * predicted)


def bent(x):
    return keras.ops.relu(x) + 0.1 * x


class Scale(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale


model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, bent), Scale(), keras.layers.Dense(1)], name="own")
model.compile("adam", pinball, metrics=[Half()])
best = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
losses = model.fit(*training, epochs=3, validation_data=validation, callbacks=[best], verbose=0).history["val_loss"]
headrace_client.export("best.keras")
NAME, VAL_LOSS = "own", min(losses)
