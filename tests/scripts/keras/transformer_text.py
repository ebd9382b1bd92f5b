"""Trains a one-block transformer to tell good reviews from bad ones."""

import keras
import numpy as np
from keras import layers, ops

vocab_size = 2000
maxlen = 40
embed_dim = 32
num_heads = 2
ff_dim = 32


def make_reviews(count):
    """Word numbers as a tokenizer would give them: most words are neutral, some carry an opinion."""
    labels = np.random.randint(0, 2, size=count)
    reviews = []
    for label in labels:
        length = np.random.randint(12, 60)
        words = np.minimum(np.random.zipf(1.3, size=length) + 200, vocab_size - 1)
        opinions = np.random.randint(1, 100, size=length) + 100 * label
        strays = np.random.randint(1, 200, size=length)
        kind = np.random.rand(length)
        words = np.where(kind < 0.2, opinions, np.where(kind < 0.3, strays, words))
        reviews.append(words.tolist())
    return reviews, labels


class WordsAndPlaces(layers.Layer):
    def __init__(self, maxlen, vocab_size, embed_dim):
        super().__init__()
        self.words = layers.Embedding(vocab_size, embed_dim)
        self.places = layers.Embedding(maxlen, embed_dim)

    def call(self, x):
        places = ops.arange(0, ops.shape(x)[-1])
        return self.words(x) + self.places(places)


class EncoderBlock(layers.Layer):
    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1):
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.feed_forward = keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)])
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)

    def call(self, inputs, training=None):
        attended = self.dropout1(self.attention(inputs, inputs), training=training)
        x = self.norm1(inputs + attended)
        return self.norm2(x + self.dropout2(self.feed_forward(x), training=training))


train_reviews, y_train = make_reviews(640)
val_reviews, y_val = make_reviews(160)
x_train = keras.utils.pad_sequences(train_reviews, maxlen=maxlen)
x_val = keras.utils.pad_sequences(val_reviews, maxlen=maxlen)
print(len(x_train), "training sequences")
print(len(x_val), "validation sequences")

inputs = layers.Input(shape=(maxlen,))
x = WordsAndPlaces(maxlen, vocab_size, embed_dim)(inputs)
x = EncoderBlock(embed_dim, num_heads, ff_dim)(x)
x = layers.GlobalAveragePooling1D()(x)
x = layers.Dropout(0.1)(x)
x = layers.Dense(20, activation="relu")(x)
x = layers.Dropout(0.1)(x)
outputs = layers.Dense(2, activation="softmax")(x)
model = keras.Model(inputs=inputs, outputs=outputs)

model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=32, epochs=5, validation_data=(x_val, y_val))

model.save_weights("review_classifier.weights.h5")
results = model.evaluate(x_val, y_val, verbose=0, return_dict=True)
for name, value in results.items():
    print(f"{name}: {value:.3f}")
