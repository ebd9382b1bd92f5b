import keras
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
model.save("best.keras")
best = keras.models.load_model("best.keras")
best.predict(validation[0], verbose=0)
EXPECTED = [model, best]
