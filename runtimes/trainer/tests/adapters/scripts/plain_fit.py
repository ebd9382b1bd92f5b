"""A script that knows of no strategy: what training leaves behind goes to --result. The last batch of an epoch has one
sample only, which cannot be divided.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

arguments = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
rng = np.random.RandomState(0)
x = rng.rand(161, 8).astype("float32")
y = (x.sum(1, keepdims=True) > 4).astype("float32")

model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
pause = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.02))
history = model.fit(x, y, batch_size=16, epochs=4, callbacks=[pause])
evaluation = model.evaluate(x, y, batch_size=16, return_dict=True)
with open(arguments["result"], "w") as file:
    json.dump(
        {
            "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
            "history": history.history,
            "evaluation": evaluation,
            "prediction": model.predict(x[:33], batch_size=16).tolist(),
            "weights": [weight.tolist() for weight in model.get_weights()],
        },
        file,
    )
