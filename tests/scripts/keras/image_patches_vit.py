"""Trains a small vision transformer that cuts pictures into patches."""

import keras
import numpy as np
from keras import layers, ops

num_classes = 4
input_shape = (16, 16, 3)
patch_size = 4
num_patches = (16 // patch_size) ** 2
projection_dim = 32
num_heads = 2
transformer_layers = 1
batch_size = 32
num_epochs = 6


class Patches(layers.Layer):
    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size

    def call(self, images):
        patches = ops.image.extract_patches(images, size=self.patch_size)
        batch, rows, columns, depth = ops.shape(patches)
        return ops.reshape(patches, (batch, rows * columns, depth))

    def get_config(self):
        config = super().get_config()
        config.update({"patch_size": self.patch_size})
        return config


class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim):
        super().__init__()
        self.num_patches = num_patches
        self.projection = layers.Dense(units=projection_dim)
        self.position_embedding = layers.Embedding(input_dim=num_patches, output_dim=projection_dim)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(self.num_patches), axis=0)
        return self.projection(patch) + self.position_embedding(positions)


def mlp(x, hidden_units, dropout_rate):
    for units in hidden_units:
        x = layers.Dense(units, activation=keras.activations.gelu)(x)
        x = layers.Dropout(dropout_rate)(x)
    return x


def create_vit_classifier():
    inputs = keras.Input(shape=input_shape)
    patches = Patches(patch_size)(layers.Rescaling(5.0, offset=-2.0)(inputs))
    encoded = PatchEncoder(num_patches, projection_dim)(patches)
    for _ in range(transformer_layers):
        x1 = layers.LayerNormalization(epsilon=1e-6)(encoded)
        attended = layers.MultiHeadAttention(num_heads=num_heads, key_dim=projection_dim, dropout=0.1)(x1, x1)
        x2 = layers.Add()([attended, encoded])
        x3 = layers.LayerNormalization(epsilon=1e-6)(x2)
        encoded = layers.Add()([mlp(x3, [64, projection_dim], 0.1), x2])
    representation = layers.LayerNormalization(epsilon=1e-6)(encoded)
    representation = layers.Dropout(0.1)(layers.Flatten()(representation))
    logits = layers.Dense(num_classes)(mlp(representation, [64], 0.1))
    return keras.Model(inputs=inputs, outputs=logits)


def load_data(count):
    """A bright spot in one of the four quarters, on a noisy ground."""
    y = np.random.randint(0, num_classes, size=(count, 1))
    x = np.random.normal(0.4, 0.2, size=(count, *input_shape))
    for picture, (quarter,) in zip(x, y, strict=True):
        row = 8 * (quarter // 2) + np.random.randint(0, 5)
        column = 8 * (quarter % 2) + np.random.randint(0, 5)
        picture[row : row + 4, column : column + 4] += np.random.uniform(0.2, 0.6, size=3)
    return x.astype("float32"), y


x_train, y_train = load_data(800)
x_test, y_test = load_data(240)
model = create_vit_classifier()
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=0.002, weight_decay=0.0001),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)
model.fit(x=x_train, y=y_train, batch_size=batch_size, epochs=num_epochs, validation_split=0.1)
_, accuracy = model.evaluate(x_test, y_test)
print(f"Test accuracy: {round(accuracy * 100, 2)}%")
