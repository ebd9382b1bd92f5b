"""A dense model with 100 MB of weights and as much of momentum; tells the peak of its memory and its loss."""

import json
import resource
import sys
import time

import keras
import numpy as np

WIDTH = 5000
options = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])
pause = float(options["pause"])

keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input([WIDTH]), keras.layers.Dense(WIDTH, "tanh")])
model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
x = np.random.default_rng(3).normal(size=[18, WIDTH]).astype("float32")
wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(pause))
history = model.fit(x, x, batch_size=1, epochs=1, shuffle=False, verbose=0, callbacks=[wait])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with open(options["result"], "w") as file:
    json.dump({"peak": peak, "loss": history.history["loss"]}, file)
