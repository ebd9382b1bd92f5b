from model_data import build, training, validation

import headrace_client

model = build()
headrace_client.export(model)
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
EXPECTED, LAST_EPOCH = model, 1
