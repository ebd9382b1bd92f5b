import keras
from model_data import build, training, validation

model = build(rate=1.0)
best = keras.callbacks.ModelCheckpoint(
    "epoch-{epoch}.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True
)
history = model.fit(*training, epochs=4, validation_data=validation, callbacks=[best], verbose=0)
losses = history.history["val_loss"]
model.load_weights(f"epoch-{losses.index(min(losses)) + 1}.weights.h5")
EXPECTED = model
VAL_LOSS = min(losses)
