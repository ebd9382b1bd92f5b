"""Recommends films with two towers: one makes a vector of a user, the other of a film; near ones fit together."""

import argparse

import keras
import numpy as np
from keras import layers
from sklearn.metrics import roc_auc_score

USERS, FILMS, GENRES = 400, 200, 6

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=16, help="of the vectors")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--learning_rate", type=float, default=0.004)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# ----- the data: who saw which film. Each user likes some genres, and known films are seen more often.

draw = np.random.default_rng(1)
genre = np.arange(FILMS) % GENRES
taste = draw.normal(0, 2.0, size=(USERS, GENRES))
known = draw.normal(0, 0.7, size=FILMS)
appeal = np.exp(taste[:, genre] + known)
seen = np.stack([draw.choice(FILMS, size=30, replace=False, p=row / row.sum()) for row in appeal])


def examples(seen: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The films that users saw (1), and for each of them one that this user did not see (0)."""
    draw = np.random.default_rng(seed)
    users = np.repeat(np.arange(USERS), seen.shape[1])
    others = np.stack(
        [draw.choice(np.setdiff1d(np.arange(FILMS), all_seen[user]), seen.shape[1]) for user in range(USERS)]
    )
    pairs = {
        "user": np.concatenate([users, users]).astype("int32"),
        "film": np.concatenate([seen.ravel(), others.ravel()]).astype("int32"),
    }
    return pairs, np.repeat([1.0, 0.0], len(users)).astype("float32")


all_seen = seen
x_train, y_train = examples(seen[:, :20], seed=2)
x_val, y_val = examples(seen[:, 20:25], seed=3)
x_test, y_test = examples(seen[:, 25:], seed=4)

# ----- the model

user = keras.Input(shape=(1,), dtype="int32", name="user")
film = keras.Input(shape=(1,), dtype="int32", name="film")


def tower(number, count: int):
    x = layers.Flatten()(layers.Embedding(count, arguments.width)(number))
    x = layers.Dense(2 * arguments.width, activation="relu")(x)
    return layers.Dense(arguments.width)(x)


fit = layers.Dot(axes=1)([tower(user, USERS), tower(film, FILMS)])
model = keras.Model([user, film], layers.Activation("sigmoid", name="score")(fit))
model.summary()
model.compile(
    optimizer=keras.optimizers.Adam(arguments.learning_rate),
    loss="binary_crossentropy",
    metrics=[keras.metrics.AUC(name="auc")],
)
model.fit(x_train, y_train, batch_size=256, epochs=arguments.epochs, validation_data=(x_val, y_val), verbose=2)

auc = roc_auc_score(y_test, model.predict(x_test, batch_size=1024, verbose=0))
views = np.bincount(x_train["film"][y_train == 1], minlength=FILMS)
by_views = roc_auc_score(y_test, views[x_test["film"]])
print(f"test: AUC {auc:.3f}; what most people saw: {by_views:.3f}")
