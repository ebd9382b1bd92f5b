# A model of an earlier job.
import keras
from model_data import EXISTING, validation

model = keras.models.load_model(EXISTING / "production.keras")
model.evaluate(*validation, verbose=0)
EXPECTED = []
