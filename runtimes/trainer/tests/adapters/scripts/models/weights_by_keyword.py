from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
kept = model.get_weights()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
model.set_weights(weights=kept)
EXPECTED = model
VAL_LOSS = model.evaluate(*validation, verbose=0)[0]
