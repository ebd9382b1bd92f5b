from model_data import build, training, validation

model = build()
for _ in range(5):
    model.fit(*training, epochs=1, validation_data=validation, verbose=0)
EXPECTED, LAST_EPOCH = model, 0
