from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
for variable in model.layers[0].weights:
    variable.assign(variable * 3)
EXPECTED = model
UNMEASURED = ["val_loss", "val_mae"]
