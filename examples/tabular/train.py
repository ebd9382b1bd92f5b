"""Tells benign from malignant tumours by 30 measurements, with a dense network."""

import argparse

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--units", type=int, default=32)
parser.add_argument("--dropout", type=float, default=0.2)
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--learning_rate", type=float, default=0.003)
parser.add_argument("--split", type=int, default=0, help="which rows are kept for the validation: any number")
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.split)

x, y = load_breast_cancer(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(
    x.astype("float32"), y, test_size=0.3, stratify=y, random_state=arguments.split
)

scale = layers.Normalization()
scale.adapt(x_train)
model = keras.Sequential(
    [
        keras.Input(shape=(30,), name="features"),
        scale,
        layers.Dense(arguments.units, activation="relu"),
        layers.Dropout(arguments.dropout),
        layers.Dense(arguments.units, activation="relu"),
        layers.Dropout(arguments.dropout),
        layers.Dense(1, activation="sigmoid", name="benign"),
    ]
)
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(arguments.learning_rate),
    loss="binary_crossentropy",
    metrics=["accuracy", keras.metrics.AUC(name="auc", num_thresholds=1000)],
)
model.fit(x_train, y_train, batch_size=32, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

accuracy = model.evaluate(x_val, y_val, verbose=0, return_dict=True)["accuracy"]
auc = roc_auc_score(y_val, model.predict(x_val, verbose=0))
print(f"dense network: validation accuracy {accuracy:.3f}, AUC {auc:.4f}")
