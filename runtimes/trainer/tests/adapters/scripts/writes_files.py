"""Keeps its best weights and a table of its epochs in files, and uses them after the fit; then trains once more."""

import json
import os
import shutil
import sys
import time

import keras
import numpy as np

rng = np.random.default_rng(3)
x = rng.normal(size=(160, 10)).astype("float32")
y = (x[:, :1] + rng.normal(size=(160, 1)) * 1.5).astype("float32")
print("found", sorted(name for name in os.listdir() if name not in ("stdout", "stderr")))
shutil.rmtree("out", ignore_errors=True)
os.makedirs("out/deep")
with open("out/vocabulary.txt", "w") as file:
    file.write("a b c")
notes = open("out/notes.txt", "w", buffering=1)  # noqa: SIM115 - as in Keras' own example of a LambdaCallback


class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

    def on_epoch_end(self, epoch, logs=None):
        notes.write(f"epoch {epoch}\n")
        with open("out/deep/last.json", "w") as file:
            json.dump({"epoch": epoch}, file)


model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.05), "mse")
best = keras.callbacks.ModelCheckpoint(
    "out/best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True
)
table = keras.callbacks.CSVLogger("out/table.csv")
model.fit(x, y, validation_split=0.5, epochs=8, batch_size=8, callbacks=[best, table, Slow()])
model.load_weights("out/best.weights.h5")
result = {"best": model.evaluate(x, y)}
os.rename("out/table.csv", "out/table-of-first.csv")
time.sleep(0.5)
table = keras.callbacks.CSVLogger("out/table.csv")
model.fit(x, y, validation_split=0.5, epochs=3, batch_size=8, callbacks=[best, table, Slow()])
model.load_weights("out/best.weights.h5")
result["weights"] = [weight.tolist() for weight in model.get_weights()]
notes.close()
for name in ("out/vocabulary.txt", "out/notes.txt", "out/deep/last.json", "out/table-of-first.csv", "out/table.csv"):
    with open(name, newline="") as file:
        result[name] = file.read()
with open(sys.argv[1].removeprefix("--result="), "w") as file:
    json.dump(result, file)
