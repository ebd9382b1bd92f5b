# The guides' check that a loaded model is the same one.
import keras
import numpy as np
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
keras.saving.save_model(model, "model.keras")
loaded = keras.saving.load_model(filepath="model.keras")
np.testing.assert_allclose(model.predict(training[0], verbose=0), loaded.predict(training[0], verbose=0))
EXPECTED, LAST_EPOCH = model, 1
