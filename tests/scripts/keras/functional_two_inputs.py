"""Predicts whether a second-hand listing sells within a week, from its photo and a few numbers."""

import keras
import numpy as np
from keras import layers

NUM_LISTINGS = 1280
PHOTO_SIZE = 16
FIELDS = ["price", "age_months", "num_photos", "seller_rating", "description_length"]

# Photos: well-lit ones have a bright subject in the middle. Table: five numbers, already scaled.
quality = np.random.uniform(0, 1, NUM_LISTINGS)
rows, cols = np.mgrid[0:PHOTO_SIZE, 0:PHOTO_SIZE] - PHOTO_SIZE / 2
subject = np.exp(-(rows**2 + cols**2) / 18.0)
photos = quality[:, None, None] * subject + np.random.normal(0, 0.15, (NUM_LISTINGS, PHOTO_SIZE, PHOTO_SIZE))
photos = photos[..., None].astype("float32")

details = np.random.normal(size=(NUM_LISTINGS, len(FIELDS))).astype("float32")
score = 4.0 * (quality - 0.5) - 1.2 * details[:, 0] - 0.5 * details[:, 1] + 0.8 * details[:, 3]
sold = (score + np.random.normal(0, 0.3, NUM_LISTINGS) > 0).astype("float32")

# One branch for each input.
photo_input = keras.Input(shape=(PHOTO_SIZE, PHOTO_SIZE, 1), name="photo")
x = layers.Conv2D(16, 3, strides=2, activation="relu")(photo_input)
x = layers.Conv2D(32, 3, activation="relu")(x)
photo_features = layers.GlobalAveragePooling2D()(x)

details_input = keras.Input(shape=(len(FIELDS),), name="details")
detail_features = layers.Dense(32, activation="relu")(details_input)

# Merge them and predict.
x = layers.concatenate([photo_features, detail_features])
x = layers.Dense(32, activation="relu")(x)
x = layers.Dropout(0.2)(x)
sells = layers.Dense(1, activation="sigmoid", name="sells")(x)

model = keras.Model(inputs=[photo_input, details_input], outputs=sells, name="listing")
model.summary()

model.compile(
    optimizer=keras.optimizers.Adam(2e-3),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=["accuracy", keras.metrics.AUC(name="auc")],
)
history = model.fit(
    {"photo": photos, "details": details},
    sold,
    epochs=10,
    batch_size=32,
    validation_split=0.2,
)
print("best validation AUC:", round(max(history.history["val_auc"]), 3))

sample = model.predict({"photo": photos[:5], "details": details[:5]})
for probability, truth in zip(sample[:, 0], sold[:5], strict=True):
    print(f"predicted {probability:.2f}, sold: {bool(truth)}")
