import keras
from model_data import EXISTING, training, validation

model = keras.models.load_model(EXISTING / "production.keras")
best = keras.callbacks.ModelCheckpoint("best.weights.h5", save_best_only=True, save_weights_only=True)
losses = model.fit(*training, epochs=3, validation_data=validation, callbacks=[best], verbose=0).history["val_loss"]
fresh = keras.models.load_model(EXISTING / "production.keras")
fresh.load_weights("best.weights.h5")
fresh.evaluate(*validation, verbose=0)
EXPECTED, VAL_LOSS = fresh, min(losses)
