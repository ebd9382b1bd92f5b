import keras
from model_data import build, validation

build().save("new.keras")
model = keras.models.load_model("new.keras")
model.evaluate(*validation, verbose=0)
EXPECTED = []
