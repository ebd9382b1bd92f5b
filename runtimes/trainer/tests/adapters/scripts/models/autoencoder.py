# Its parts are models, too, and so is the view of a layer that a plot needs.
import keras
from model_data import x

inputs = keras.Input((4,))
encoder = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="encoder")
code = keras.Input((2,))
decoder = keras.Model(code, keras.layers.Dense(4)(code), name="decoder")
autoencoder = keras.Model(inputs, decoder(encoder(inputs)), name="autoencoder")
autoencoder.compile("adam", "mse")
autoencoder.fit(x, x, epochs=1, verbose=0)
activations = keras.Model(autoencoder.inputs, encoder.layers[-1].output)
EXPECTED = autoencoder
