import keras
from model_data import build, training

model = build()
model.fit(*training, epochs=1, verbose=0)
probabilities = keras.Sequential([model, keras.layers.Softmax()])
EXPECTED = [model, probabilities]
