"""Cross-validates a regression network with scikit-learn's KFold, then trains it on all the data."""

import keras
import numpy as np
import pandas as pd
from keras import layers
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

NUM_FOLDS = 3
EPOCHS = 5
BATCH_SIZE = 20


def load_data():
    """Fuel consumption of 600 cars."""
    rng = np.random.default_rng()
    cars = pd.DataFrame(
        {
            "cylinders": rng.choice([3, 4, 6, 8], 600),
            "horsepower": rng.normal(110, 30, 600),
            "weight": rng.normal(1400, 250, 600),
            "acceleration": rng.normal(15, 2.5, 600),
            "year": rng.integers(1990, 2020, 600),
        }
    )
    mpg = 45 - 0.012 * cars.weight - 0.05 * cars.horsepower - 0.7 * cars.cylinders + 0.25 * (cars.year - 1990)
    return cars.to_numpy("float32"), (mpg + rng.normal(0, 1.0, 600)).to_numpy("float32")


def build_model():
    model = keras.Sequential(
        [
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", metrics=["mae"])
    return model


data, targets = load_data()
kfold = KFold(n_splits=NUM_FOLDS, shuffle=True, random_state=7)
all_scores = []

for fold, (train_index, val_index) in enumerate(kfold.split(data)):
    print(f"Processing fold #{fold}")
    scaler = StandardScaler()
    x_train = scaler.fit_transform(data[train_index])
    x_val = scaler.transform(data[val_index])

    model = build_model()
    model.fit(x_train, targets[train_index], epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0)
    val_mse, val_mae = model.evaluate(x_val, targets[val_index], verbose=0)
    print(f"  mse {val_mse:.3f}  mae {val_mae:.3f}")
    all_scores.append(val_mae)

print(f"Cross-validated MAE: {np.mean(all_scores):.3f} (+/- {np.std(all_scores):.3f})")

# The scores look fine: fit the model that will be used on everything.
scaler = StandardScaler()
final_model = build_model()
final_model.fit(scaler.fit_transform(data), targets, epochs=EPOCHS, batch_size=BATCH_SIZE)
final_model.save("mpg.keras")
