# Which of its states is meant is told while there is still worse to come.
from model_data import build, training, validation

import headrace_client

model, losses = build(), []
for rate in (0.01, 0.01, 10.0, 100.0):
    model.optimizer.learning_rate = rate
    losses += model.fit(*training, validation_data=validation, verbose=0).history["val_loss"]
    if losses[-1] == min(losses):
        headrace_client.export(model)
        wanted = model.get_weights()
EXPECTED, VAL_LOSS = model, min(losses)
WEIGHTS = wanted
