# A model of an earlier job.
import keras
from model_data import build, validation

build().save("earlier.keras")
model = keras.models.load_model("earlier.keras")
model.evaluate(*validation, verbose=0)
EXPECTED = model
