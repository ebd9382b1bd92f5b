"""Trains a convolutional autoencoder that removes noise from small grey pictures."""

import matplotlib.pyplot as plt
import numpy as np
from tensorflow.keras.layers import Conv2D, Conv2DTranspose, Input, MaxPooling2D
from tensorflow.keras.models import Model


def strokes(count, size=16):
    """Pictures of two or three thick strokes, a bit like handwritten digits."""
    pictures = np.zeros((count, size, size, 1), dtype="float32")
    for picture in pictures:
        for _ in range(np.random.randint(2, 4)):
            start, end = np.random.randint(2, size - 3, size=(2, 2))
            for step in np.linspace(0, 1, 24):
                row, column = np.round(start + step * (end - start)).astype(int)
                picture[row : row + 2, column : column + 2] = 1.0
    return pictures


def noise(array, factor=0.4):
    noisy = array + factor * np.random.normal(size=array.shape)
    return np.clip(noisy, 0.0, 1.0).astype("float32")


def display(noisy, restored, path="denoised.png"):
    plt.figure(figsize=(10, 3))
    for i in range(8):
        for row, images in enumerate((noisy, restored)):
            axis = plt.subplot(2, 8, row * 8 + i + 1)
            axis.imshow(images[i, :, :, 0], cmap="gray")
            axis.axis("off")
    plt.savefig(path)
    plt.close()


train_data, test_data = strokes(800), strokes(160)
noisy_train_data, noisy_test_data = noise(train_data), noise(test_data)

image = Input(shape=(16, 16, 1))

# Encoder
x = Conv2D(16, (3, 3), activation="relu", padding="same")(image)
x = MaxPooling2D((2, 2), padding="same")(x)
x = Conv2D(16, (3, 3), activation="relu", padding="same")(x)
x = MaxPooling2D((2, 2), padding="same")(x)

# Decoder
x = Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(x)
x = Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(x)
x = Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)

autoencoder = Model(image, x)
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.summary()

autoencoder.fit(
    x=noisy_train_data,
    y=train_data,
    epochs=8,
    batch_size=32,
    shuffle=True,
    validation_data=(noisy_test_data, test_data),
)

predictions = autoencoder.predict(noisy_test_data)
print("mean squared error, noisy:   ", ((noisy_test_data - test_data) ** 2).mean())
print("mean squared error, restored:", ((predictions - test_data) ** 2).mean())
display(noisy_test_data, predictions)
