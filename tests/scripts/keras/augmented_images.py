"""Trains a small convnet on pictures of shapes, with the augmentation layers inside the model."""

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

class_names = ["disc", "frame", "cross"]
image_size = (16, 16)
batch_size = 32
epochs = 8


def draw(label):
    rows, columns = np.mgrid[0:16, 0:16]
    row, column = np.random.randint(6, 10, size=2)
    radius = np.random.randint(3, 6)
    if label == 0:
        mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    elif label == 1:
        mask = np.maximum(abs(rows - row), abs(columns - column)) == radius
    else:
        mask = (rows == row) | (columns == column)
    background = np.random.uniform(0, 120, size=3)
    colour = np.random.uniform(140, 255, size=3)
    image = np.where(mask[..., None], colour, background)
    return np.clip(image + np.random.normal(0, 15, size=image.shape), 0, 255)


labels = np.random.randint(0, len(class_names), size=800)
images = np.stack([draw(label) for label in labels]).astype("uint8")
x_train, x_val = images[:640], images[640:]
y_train, y_val = labels[:640], labels[640:]
print("train:", x_train.shape, "validation:", x_val.shape)

data_augmentation = keras.Sequential(
    [
        layers.RandomFlip("horizontal_and_vertical"),
        layers.RandomRotation(0.1),
    ],
    name="data_augmentation",
)

inputs = keras.Input(shape=(*image_size, 3))
x = data_augmentation(inputs)
x = layers.Rescaling(1.0 / 255)(x)
for filters in (16, 32):
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D()(x)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dropout(0.2)(x)
outputs = layers.Dense(len(class_names), activation="softmax")(x)
model = keras.Model(inputs, outputs)
model.summary()

model.compile(
    optimizer=keras.optimizers.Adam(2e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=batch_size, epochs=epochs, validation_data=(x_val, y_val))

probabilities = model.predict(x_val[:5])
for truth, row in zip(y_val, probabilities, strict=False):
    print(f"{class_names[truth]:>6} -> {class_names[row.argmax()]:>6} ({row.max():.0%})")
