"""Recognises activities in windows of a three-axis accelerometer with 1D convolutions."""

import keras
import numpy as np

rng = np.random.default_rng(7)
activities = ["still", "walking", "running", "stairs"]
window = 96  # samples, at 32 Hz


def record(label):
    t = np.arange(window) / 32 + rng.uniform(0, 1)
    signal = rng.normal(0, 0.25, size=(window, 3)) + rng.normal(0, 0.2, size=3)
    rate, strength = [(0, 0), (1.8, 0.6), (2.7, 1.1), (1.5, 0.7)][label]
    rate *= rng.uniform(0.85, 1.15)
    signal[:, 2] += 1.0 + strength * np.sin(2 * np.pi * rate * t)
    signal[:, 0] += 0.4 * strength * np.sin(np.pi * rate * t)
    if label == 3:
        signal[:, 1] += 0.3 * strength * np.abs(np.sin(2 * np.pi * rate * t))
    return signal


labels = rng.integers(0, len(activities), size=1200)
signals = np.stack([record(label) for label in labels]).astype("float32")
x_train, x_test = signals[:960], signals[960:]
y_train, y_test = labels[:960], labels[960:]


def make_model(input_shape):
    inputs = keras.layers.Input(input_shape)
    x = inputs
    for _ in range(2):
        x = keras.layers.Conv1D(filters=24, kernel_size=5, padding="same")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    outputs = keras.layers.Dense(len(activities), activation="softmax")(x)
    return keras.models.Model(inputs=inputs, outputs=outputs)


model = make_model(x_train.shape[1:])
callbacks = [
    keras.callbacks.ModelCheckpoint("best_model.keras", save_best_only=True, monitor="val_loss"),
    keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=3, min_lr=0.0001),
]
model.compile(
    optimizer=keras.optimizers.Adam(0.003),
    loss="sparse_categorical_crossentropy",
    metrics=["sparse_categorical_accuracy"],
)
model.fit(x_train, y_train, batch_size=32, epochs=8, callbacks=callbacks, validation_split=0.2, verbose=1)

model = keras.models.load_model("best_model.keras")
test_loss, test_acc = model.evaluate(x_test, y_test)
print("Test accuracy", test_acc)
print("Test loss", test_loss)

confusion = np.zeros((4, 4), dtype=int)
np.add.at(confusion, (y_test, model.predict(x_test, verbose=0).argmax(axis=1)), 1)
print(confusion)
