import keras
from model_data import build, training, validation

import headrace_client

losses = []


class Best(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        losses.append(logs["val_loss"])
        if losses[-1] == min(losses):
            headrace_client.export(self.model)
        self.model.optimizer.learning_rate = 50.0


model = build()
model.fit(*training, epochs=4, validation_data=validation, callbacks=[Best()], verbose=0)
EXPECTED, VAL_LOSS = model, losses[0]
