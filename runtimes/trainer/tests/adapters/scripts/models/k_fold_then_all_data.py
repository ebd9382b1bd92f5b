import numpy as np
from model_data import build, x, y

scores = []
for fold in range(3):
    held_out = np.arange(len(x)) % 3 == fold
    model = build(f"fold_{fold}")
    history = model.fit(x[~held_out], y[~held_out], epochs=1, validation_data=(x[held_out], y[held_out]), verbose=0)
    scores.append(history.history["val_loss"][-1])
final = build("final")
del model, history
final.fit(x, y, epochs=1, verbose=0)
EXPECTED = final
DROPPED = 3
UNMEASURED = ["val_loss", "val_mae"]
