"""Learns user and film vectors from ratings and recommends films to one user."""

import keras
import numpy as np
import pandas as pd
from keras import layers

keras.utils.set_random_seed(42)

EMBEDDING_SIZE = 24
NUM_USERS = 900
NUM_FILMS = 400

# A ratings table like those of film sites: user, film, rating from 0.5 to 5.
tastes = np.random.normal(size=(NUM_USERS, 3))
genres = np.random.normal(size=(NUM_FILMS, 3))
quality = np.random.normal(0, 0.4, size=NUM_FILMS)
df = pd.DataFrame(
    {
        "userId": np.random.randint(0, NUM_USERS, size=24000) + 1000,
        "filmId": np.random.randint(0, NUM_FILMS, size=24000) * 7 + 3,
    }
).drop_duplicates()
user_index = (df["userId"] - 1000).to_numpy()
film_index = ((df["filmId"] - 3) // 7).to_numpy()
rating = 3.2 + 0.6 * (tastes[user_index] * genres[film_index]).sum(axis=1) + quality[film_index]
df["rating"] = (2 * (rating + np.random.normal(0, 0.3, size=len(df)))).round().clip(1, 10) / 2

user_ids = df["userId"].unique().tolist()
film_ids = df["filmId"].unique().tolist()
user2encoded = {user: i for i, user in enumerate(user_ids)}
film2encoded = {film: i for i, film in enumerate(film_ids)}
df["user"] = df["userId"].map(user2encoded)
df["film"] = df["filmId"].map(film2encoded)
print(f"Users: {len(user_ids)}, films: {len(film_ids)}, ratings: {len(df)}")

df = df.sample(frac=1, random_state=42)
y = (df["rating"].to_numpy() / 5.0).astype("float32")
cut = int(0.85 * len(df))
train, val = df[:cut], df[cut:]

user_input = keras.Input(shape=(1,), name="user", dtype="int32")
film_input = keras.Input(shape=(1,), name="film", dtype="int32")
user_vector = layers.Flatten()(layers.Embedding(len(user_ids), EMBEDDING_SIZE, name="user_embedding")(user_input))
film_vector = layers.Flatten()(layers.Embedding(len(film_ids), EMBEDDING_SIZE, name="film_embedding")(film_input))
film_bias = layers.Flatten()(layers.Embedding(len(film_ids), 1, name="film_bias")(film_input))
match = layers.Dot(axes=1)([user_vector, film_vector])
score = layers.Activation("sigmoid", name="score")(layers.Add()([match, film_bias]))
model = keras.Model([user_input, film_input], score)

model.compile(loss="mse", optimizer=keras.optimizers.Adam(learning_rate=0.01))
history = model.fit(
    x=[train["user"].to_numpy(), train["film"].to_numpy()],
    y=y[:cut],
    batch_size=512,
    epochs=12,
    validation_data=([val["user"].to_numpy(), val["film"].to_numpy()], y[cut:]),
)

user_id = df["userId"].iloc[0]
seen = set(df.loc[df["userId"] == user_id, "filmId"])
unseen = [film for film in film_ids if film not in seen]
films = np.array([[film2encoded[film]] for film in unseen])
ratings = model.predict([np.full_like(films, user2encoded[user_id]), films]).flatten()
print(f"Top films for user {user_id}:")
for i in ratings.argsort()[-5:][::-1]:
    print(f"  film {unseen[i]}: {5 * ratings[i]:.1f} stars")
