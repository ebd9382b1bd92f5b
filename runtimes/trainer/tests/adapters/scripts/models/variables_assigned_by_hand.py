# A model of another shape takes a part of the trained one's numbers.
import keras
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
smaller = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(1)])
smaller.layers[0].kernel.assign(model.layers[0].kernel[:, :2])
smaller.compile(loss="mse")
smaller.evaluate(*validation, verbose=0)
EXPECTED = smaller
UNMEASURED = ["val_loss", "val_mae"]
