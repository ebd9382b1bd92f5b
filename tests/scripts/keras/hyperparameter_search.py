"""Tries a few settings of a small classifier on tabular data and keeps the best one."""

import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tensorflow import keras
from tensorflow.keras import layers

# Customer churn, or something much like it
X, y = make_classification(n_samples=1400, n_features=20, n_informative=8, n_clusters_per_class=3, random_state=42)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)
X_train, X_val, y_train, y_val = train_test_split(X_train, y_train, test_size=0.2, random_state=42)

scaler = StandardScaler().fit(X_train)
X_train, X_val, X_test = scaler.transform(X_train), scaler.transform(X_val), scaler.transform(X_test)


def build_model(units, learning_rate):
    model = keras.Sequential(
        [
            keras.Input(shape=(20,)),
            layers.Dense(units, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(units // 2, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    return model


best_accuracy, best_model, best_params = 0.0, None, None
results = []

for units, learning_rate in [(16, 1e-2), (64, 1e-2), (64, 1e-3)]:
    print(f"\nunits={units} learning_rate={learning_rate}")
    model = build_model(units, learning_rate)
    history = model.fit(X_train, y_train, validation_data=(X_val, y_val), epochs=5, batch_size=32, verbose=2)
    accuracy = max(history.history["val_accuracy"])
    results.append((accuracy, units, learning_rate))
    if accuracy > best_accuracy:
        best_accuracy, best_model, best_params = accuracy, model, {"units": units, "learning_rate": learning_rate}

print("\nval_accuracy  units  learning_rate")
for accuracy, units, learning_rate in sorted(results, reverse=True):
    print(f"{accuracy:12.4f}  {units:5d}  {learning_rate:g}")

print("\nBest parameters:", best_params)
_, test_accuracy = best_model.evaluate(X_test, y_test, verbose=0)
print(f"Test accuracy of the best model: {test_accuracy:.4f}")
print("Predicted churners:", int(np.sum(best_model.predict(X_test, verbose=0) > 0.5)), "of", len(X_test))
