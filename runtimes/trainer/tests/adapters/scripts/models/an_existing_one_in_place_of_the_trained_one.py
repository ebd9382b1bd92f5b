# What was trained is gone.
from model_data import EXISTING, build, training, validation

model = build()
model.fit(*training, epochs=1, verbose=0)
model.evaluate(*validation, verbose=0)
model.load_weights(EXISTING / "production.weights.h5")
model.evaluate(*validation, verbose=0)
EXPECTED = []
