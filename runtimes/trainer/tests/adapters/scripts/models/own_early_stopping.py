# The guide's "stop at the minimum of the loss", which puts the weights back by itself.
import keras
from model_data import build, training, validation


class AtMinimum(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.best, self.kept = float("inf"), None

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.best:
            self.best, self.kept = logs["val_loss"], self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.kept)


model = build(rate=1.0)
losses = model.fit(*training, epochs=5, validation_data=validation, callbacks=[AtMinimum()], verbose=0).history[
    "val_loss"
]
EXPECTED = model
VAL_LOSS = min(losses)
