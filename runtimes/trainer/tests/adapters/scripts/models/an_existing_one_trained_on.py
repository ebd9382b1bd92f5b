import keras
from model_data import EXISTING, training, validation

model = keras.models.load_model(EXISTING / "production.keras")
model.evaluate(*validation, verbose=0)
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
model.evaluate(*validation, verbose=0)
EXPECTED, LAST_EPOCH = model, 1
