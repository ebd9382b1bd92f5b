from model_data import build, validation

model = build()
model.evaluate(*validation, verbose=0)
EXPECTED = []
