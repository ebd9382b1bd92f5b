import keras
from model_data import build, training, validation

model = build()
model.fit(*training, epochs=1, validation_data=validation, verbose=0)
end_to_end = keras.Sequential(
    [keras.Input((4,)), keras.layers.Rescaling(1.0), model, keras.layers.Activation("sigmoid")]
)
end_to_end.compile(loss="mse", metrics=["mae"])
end_to_end.evaluate(*validation, verbose=0)
EXPECTED = end_to_end
UNMEASURED = ["val_loss", "val_mae"]
