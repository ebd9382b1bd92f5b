from model_data import build, training, validation

model = build()
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
model.evaluate(*validation, verbose=0)
EXPECTED, LAST_EPOCH = model, 1
