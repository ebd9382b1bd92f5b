# Champion and challenger.
import keras
from model_data import EXISTING, build, training, validation

student = build("student", units=8)
student.fit(*training, epochs=2, validation_data=validation, verbose=0)
production = keras.models.load_model(EXISTING / "production.keras")
new, old = (model.evaluate(*validation, verbose=0) for model in (student, production))
EXPECTED, LAST_EPOCH = student, 1
