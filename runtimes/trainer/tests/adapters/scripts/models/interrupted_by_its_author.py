import keras
from model_data import build, training, validation


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
model.evaluate(*validation, verbose=0)
try:
    model.fit(*training, epochs=5, validation_data=validation, callbacks=[Stop()], verbose=0)
except KeyboardInterrupt:
    print("that is enough")
EXPECTED = model
VAL_LOSS = keras.losses.MeanSquaredError()(validation[1], model(validation[0])).numpy().item()
UNMEASURED = ["eval_loss", "eval_mae"]
