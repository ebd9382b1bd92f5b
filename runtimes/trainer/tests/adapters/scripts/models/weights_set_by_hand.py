import numpy as np
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
first = model.get_weights()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
model.set_weights([np.mean(pair, axis=0) for pair in zip(first, model.get_weights(), strict=True)])
EXPECTED = model
UNMEASURED = ["val_loss", "val_mae"]
