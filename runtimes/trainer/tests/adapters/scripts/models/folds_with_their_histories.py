import numpy as np
from model_data import build, x, y

histories = []
for fold in range(3):
    held_out = np.arange(len(x)) % 3 == fold
    model = build(f"fold_{fold}")
    data = (x[held_out], y[held_out])
    histories.append(model.fit(x[~held_out], y[~held_out], epochs=1, validation_data=data, verbose=0))
EXPECTED, LAST_EPOCH = model, 0
