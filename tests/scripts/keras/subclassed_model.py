"""Classifies small handwritten-like glyphs with a subclassed keras.Model."""

import argparse

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


def make_glyphs(num_samples, num_classes=10, size=16):
    """Each class is a fixed pattern of strokes; samples are shifted and noisy copies of it."""
    prototypes = np.zeros((num_classes, size, size), dtype="float32")
    for k in range(num_classes):
        for _ in range(4):
            r, c = np.random.randint(2, size - 2, size=2)
            if np.random.rand() < 0.5:
                prototypes[k, r, 2:-2] = 1.0
            else:
                prototypes[k, 2:-2, c] = 1.0
    y = np.random.randint(0, num_classes, size=num_samples)
    shifts = np.random.randint(-1, 2, size=(num_samples, 2))
    x = np.stack([np.roll(prototypes[k], shift, axis=(0, 1)) for k, shift in zip(y, shifts, strict=True)])
    x += np.random.normal(0, 0.3, x.shape)
    return x[..., None].astype("float32"), y


class ConvBlock(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.norm = layers.BatchNormalization()
        self.pool = layers.MaxPooling2D()

    def call(self, inputs, training=False):
        x = self.conv(inputs)
        x = self.norm(x, training=training)
        return self.pool(tf.nn.relu(x))


class GlyphClassifier(keras.Model):
    def __init__(self, num_classes, dropout=0.3):
        super().__init__()
        self.block1 = ConvBlock(12)
        self.block2 = ConvBlock(24)
        self.flatten = layers.Flatten()
        self.dropout = layers.Dropout(dropout)
        self.classifier = layers.Dense(num_classes)

    def call(self, inputs, training=False):
        x = self.block1(inputs, training=training)
        x = self.block2(x, training=training)
        x = self.dropout(self.flatten(x), training=training)
        return self.classifier(x)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    args = parser.parse_args()

    x, y = make_glyphs(1200)
    x_train, y_train, x_test, y_test = x[:1000], y[:1000], x[1000:], y[1000:]

    model = GlyphClassifier(num_classes=10)
    model.compile(
        optimizer=keras.optimizers.Adam(args.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    model.fit(x_train, y_train, batch_size=args.batch_size, epochs=args.epochs, validation_data=(x_test, y_test))
    model.summary()

    test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test loss: {test_loss:.4f}  test accuracy: {test_accuracy:.4f}")


if __name__ == "__main__":
    main()
