"""Predicts who cancels a subscription from a table of text, number and code columns."""

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

NUMERIC = ["age", "monthly_fee", "months"]
CATEGORICAL = ["plan", "country"]
INTEGER_CODES = ["support_tickets", "channel"]


def make_dataframe(rows=5000):
    frame = pd.DataFrame(
        {
            "age": np.random.randint(18, 80, size=rows),
            "monthly_fee": np.random.gamma(4, 5, size=rows).round(2),
            "months": np.random.randint(1, 60, size=rows),
            "plan": np.random.choice(["basic", "family", "student", "business"], size=rows),
            "country": np.random.choice(["at", "ch", "de", "fr", "it"], size=rows),
            "support_tickets": np.random.poisson(0.8, size=rows).clip(0, 5),
            "channel": np.random.choice([10, 20, 35, 70], size=rows),
        }
    )
    score = 0.06 * frame["monthly_fee"] - 0.05 * frame["months"] + 0.7 * frame["support_tickets"] - 0.9
    score += frame["plan"].map({"basic": 0.8, "family": -1.0, "student": 0.3, "business": -0.5})
    score += (frame["channel"] == 35) * 1.2
    frame["target"] = (np.random.rand(rows) < 1 / (1 + np.exp(-score))).astype("int64")
    return frame


def dataframe_to_dataset(frame):
    frame = frame.copy()
    labels = frame.pop("target").to_numpy()
    columns = {
        name: frame[name].to_numpy(dtype="float32" if name in NUMERIC else "int64") for name in NUMERIC + INTEGER_CODES
    }
    columns |= {name: frame[name].to_numpy(dtype="object") for name in CATEGORICAL}
    return tf.data.Dataset.from_tensor_slices((columns, labels)).shuffle(len(frame))


def encode(name, column, dataset):
    feature = dataset.map(lambda x, y: x[name]).batch(256).map(lambda x: tf.expand_dims(x, -1))
    if name in NUMERIC:
        normalizer = layers.Normalization()
        normalizer.adapt(feature)
        return normalizer(column)
    lookup = layers.StringLookup() if name in CATEGORICAL else layers.IntegerLookup()
    lookup.adapt(feature)
    one_hot = layers.CategoryEncoding(num_tokens=lookup.vocabulary_size(), output_mode="multi_hot")
    return one_hot(lookup(column))


dataframe = make_dataframe()
val_dataframe = dataframe.sample(frac=0.2, random_state=1337)
train_dataframe = dataframe.drop(val_dataframe.index)
print(f"{len(train_dataframe)} rows for training and {len(val_dataframe)} for validation")
print(dataframe.head())
train_ds = dataframe_to_dataset(train_dataframe)
val_ds = dataframe_to_dataset(val_dataframe)

inputs = {name: keras.Input(shape=(1,), name=name) for name in NUMERIC}
inputs |= {name: keras.Input(shape=(1,), name=name, dtype="string") for name in CATEGORICAL}
inputs |= {name: keras.Input(shape=(1,), name=name, dtype="int64") for name in INTEGER_CODES}

features = layers.concatenate([encode(name, column, train_ds) for name, column in inputs.items()])
x = layers.Dense(64, activation="relu")(features)
x = layers.Dropout(0.3)(x)
output = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(inputs, output)
model.compile("adam", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])

model.fit(train_ds.batch(128), epochs=12, validation_data=val_ds.batch(128))

customer = {"age": 33.0, "monthly_fee": 39.9, "months": 2.0, "plan": "basic", "country": "ch"}
customer |= {"support_tickets": 3, "channel": 35}
prediction = model.predict({name: tf.convert_to_tensor([[value]]) for name, value in customer.items()})
print(f"This customer cancels with a probability of {100 * prediction[0][0]:.1f} percent.")
