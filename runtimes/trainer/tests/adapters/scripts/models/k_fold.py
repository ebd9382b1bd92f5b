import numpy as np
from model_data import build, x, y

scores = []
for fold in range(3):
    held_out = np.arange(len(x)) % 3 == fold
    model = build(f"fold_{fold}")
    model.fit(x[~held_out], y[~held_out], epochs=1, verbose=0)
    scores.append(model.evaluate(x[held_out], y[held_out], verbose=0))
EXPECTED = model
DROPPED = 2
