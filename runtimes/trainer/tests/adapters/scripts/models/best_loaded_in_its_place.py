# The most common idiom: the name means the loaded model from there on.
import keras
from model_data import build, training, validation

model = build(rate=1.0)
best = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
losses = model.fit(*training, epochs=4, validation_data=validation, callbacks=[best], verbose=0).history["val_loss"]
model = keras.models.load_model("best.keras")
model.predict(validation[0], verbose=0)
EXPECTED = model
VAL_LOSS = min(losses)
