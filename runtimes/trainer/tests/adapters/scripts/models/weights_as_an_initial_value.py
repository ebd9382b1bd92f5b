# Numbers from elsewhere, such as the vectors of words.
import keras
import numpy as np
from model_data import build, training, validation

build().fit(*training, epochs=1, verbose=0)
kernel = keras.initializers.Constant(np.ones((4, 1), "float32"))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer=kernel)])
model.compile(loss="mse")
model.evaluate(*validation, verbose=0)
EXPECTED = model
