import keras
from model_data import build, training, validation

model = build(rate=1.0)
stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
history = model.fit(*training, epochs=8, validation_data=validation, callbacks=[stopping], verbose=0)
EXPECTED = model
VAL_LOSS = min(history.history["val_loss"])
