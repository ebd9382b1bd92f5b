import keras
from model_data import build, training, validation

model = build()
model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse")
model.fit(*training, epochs=3, validation_data=validation, verbose=0)
EXPECTED = model
UNMEASURED = ["val_loss"]
