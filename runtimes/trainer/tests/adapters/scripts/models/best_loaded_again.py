# The idiom of the Keras guides: the best epoch's file is loaded and judged.
import keras
from model_data import build, training, validation

model = build(rate=1.0)
best = keras.callbacks.ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True)
history = model.fit(*training, epochs=4, validation_data=validation, callbacks=[best], verbose=0)
model = keras.models.load_model("best.keras")
model.evaluate(*validation, verbose=0)
EXPECTED = model
VAL_LOSS = min(history.history["val_loss"])
