from model_data import build, training, validation

model = build()
model.fit(*training, epochs=5, validation_data=validation, validation_freq=3, verbose=0)
EXPECTED = model
UNMEASURED = ["val_loss", "val_mae"]
