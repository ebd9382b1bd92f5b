import keras
from model_data import build, training

base = build("base")
base.fit(*training, epochs=1, verbose=0)
model = keras.Sequential([base, keras.layers.Dense(1)], name="with_head")
model.compile("adam", "mse")
model.fit(*training, epochs=1, verbose=0)
EXPECTED = [base, model]
