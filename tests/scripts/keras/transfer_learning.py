"""Reuses a network that was trained on eight textures for a new two-class task with little data."""

import keras
import numpy as np
from keras import layers

rows, cols = np.mgrid[0:16, 0:16]


def make_textures(count, angles, noise):
    """Wavy textures; the label tells the angle of the waves."""
    labels = np.random.randint(0, len(angles), count)
    angle = np.asarray(angles)[labels][:, None, None] + np.random.normal(0, 0.05, (count, 1, 1))
    phase = np.random.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.sin(1.2 * (rows * np.cos(angle) + cols * np.sin(angle)) + phase)
    images = 127 + 80 * waves + np.random.normal(0, noise, waves.shape)
    return np.clip(images, 0, 255)[..., None].astype("float32"), labels


# Step 1: a base that knows eight textures
source_x, source_y = make_textures(512, np.arange(8) * np.pi / 8, noise=30)

base_inputs = keras.Input(shape=(16, 16, 1))
x = layers.Conv2D(12, 3, padding="same")(base_inputs)
x = layers.BatchNormalization(momentum=0.9)(x)
x = layers.MaxPooling2D()(layers.Activation("relu")(x))
x = layers.Conv2D(24, 3, padding="same")(x)
x = layers.BatchNormalization(momentum=0.9)(x)
x = layers.MaxPooling2D()(layers.Activation("relu")(x))
base_model = keras.Model(base_inputs, x, name="texture_base")

pretraining = keras.Sequential(
    [
        keras.Input(shape=(16, 16, 1)),
        layers.Rescaling(scale=1 / 127.5, offset=-1),
        base_model,
        layers.GlobalMaxPooling2D(),
        layers.Dense(8, activation="softmax"),
    ]
)
pretraining.compile(optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
print("Training the base")
pretraining.fit(source_x, source_y, batch_size=32, epochs=5)

# Step 2: freeze it and train a new head on 256 images of the new task
train_x, train_y = make_textures(256, [0.1, 0.9], noise=40)
validation_x, validation_y = make_textures(128, [0.1, 0.9], noise=40)
base_model.trainable = False

inputs = keras.Input(shape=(16, 16, 1))
x = layers.Rescaling(scale=1 / 127.5, offset=-1)(inputs)
# The base holds batch normalization, which should stay in inference mode while we fine-tune.
x = base_model(x, training=False)
x = layers.GlobalMaxPooling2D()(x)
x = layers.Dropout(0.2)(x)
outputs = layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)

model.compile(
    optimizer=keras.optimizers.Adam(2e-2),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy()],
)
print("Fitting the top layer of the model")
model.fit(train_x, train_y, batch_size=32, epochs=5, validation_data=(validation_x, validation_y))

# Step 3: unfreeze the base and fine-tune everything with a low learning rate
base_model.trainable = True
model.compile(
    optimizer=keras.optimizers.Adam(2e-4),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy()],
)
print("Fitting the end-to-end model")
model.fit(train_x, train_y, batch_size=32, epochs=3, validation_data=(validation_x, validation_y))
