from model_data import build, training, validation

import headrace_client

model = build(name="of_a_file")
model.fit(*training, epochs=2, validation_data=validation, verbose=0)
model.save("wanted.keras")
loss = model.evaluate(*validation, verbose=0)[0]
model.fit(*training, epochs=1, verbose=0)
headrace_client.export("wanted.keras")
NAME = "of_a_file"
VAL_LOSS = loss
