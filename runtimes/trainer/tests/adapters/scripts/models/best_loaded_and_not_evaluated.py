# Both are still there, with other weights.
import keras
from model_data import build, training, validation

model = build()
keep = keras.callbacks.ModelCheckpoint("epoch-{epoch}.keras")
model.fit(*training, epochs=2, validation_data=validation, callbacks=[keep], verbose=0)
best = keras.models.load_model("epoch-1.keras")
best.predict(validation[0], verbose=0)
EXPECTED = [model, best]
