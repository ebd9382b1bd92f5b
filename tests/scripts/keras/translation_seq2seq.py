"""Translates short sentences word by word with an LSTM encoder-decoder trained by teacher forcing."""

import random

import keras
import numpy as np

epochs = 9
batch_size = 32
latent_dim = 48
num_samples = 640

nouns = {"cat": "gato", "dog": "perro", "car": "coche", "book": "libro", "tree": "arbol", "train": "tren"}
adjectives = {"red": "rojo", "small": "chico", "old": "viejo", "new": "nuevo", "white": "blanco", "slow": "lento"}
verbs = {"sees": "ve", "wants": "quiere", "buys": "compra", "paints": "pinta"}


def random_pair():
    a, b, c = random.choice(list(adjectives)), random.choice(list(adjectives)), random.choice(list(verbs))
    m, n = random.choice(list(nouns)), random.choice(list(nouns))
    source = f"the {a} {m} {c} the {b} {n}"
    target = f"[start] el {nouns[m]} {adjectives[a]} {verbs[c]} el {nouns[n]} {adjectives[b]} [end]"
    return source, target


pairs = [random_pair() for _ in range(num_samples)]
source_words = sorted({word for source, _ in pairs for word in source.split()})
target_words = sorted({word for _, target in pairs for word in target.split()})
source_index = {word: i for i, word in enumerate(source_words)}
target_index = {word: i for i, word in enumerate(target_words)}
print("Number of samples:", len(pairs))
print("Source words:", len(source_words), " target words:", len(target_words))

source_ids = np.array([[source_index[word] for word in source.split()] for source, _ in pairs])
target_ids = np.array([[target_index[word] for word in target.split()] for _, target in pairs])
encoder_input_data = np.eye(len(source_words), dtype="float32")[source_ids]
# The target is one step ahead of what the decoder is fed.
decoder_input_data = np.eye(len(target_words), dtype="float32")[target_ids[:, :-1]]
decoder_target_data = np.eye(len(target_words), dtype="float32")[target_ids[:, 1:]]

encoder_inputs = keras.Input(shape=(None, len(source_words)))
encoder = keras.layers.LSTM(latent_dim, return_state=True)
_, state_h, state_c = encoder(encoder_inputs)

decoder_inputs = keras.Input(shape=(None, len(target_words)))
decoder_lstm = keras.layers.LSTM(latent_dim, return_sequences=True, return_state=True)
decoder_sequence, _, _ = decoder_lstm(decoder_inputs, initial_state=[state_h, state_c])
decoder_dense = keras.layers.Dense(len(target_words), activation="softmax")
model = keras.Model([encoder_inputs, decoder_inputs], decoder_dense(decoder_sequence))

model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="categorical_crossentropy", metrics=["accuracy"])
model.fit(
    [encoder_input_data, decoder_input_data],
    decoder_target_data,
    batch_size=batch_size,
    epochs=epochs,
    validation_split=0.2,
)
model.save("s2s_model.keras")

# Sampling models: encode once, then feed the decoder its own words.
encoder_model = keras.Model(encoder_inputs, [state_h, state_c])
input_h, input_c = keras.Input(shape=(latent_dim,)), keras.Input(shape=(latent_dim,))
sequence, next_h, next_c = decoder_lstm(decoder_inputs, initial_state=[input_h, input_c])
decoder_model = keras.Model([decoder_inputs, input_h, input_c], [decoder_dense(sequence), next_h, next_c])


def translate(encoded):
    h, c = encoder_model.predict(encoded, verbose=0)
    word, sentence = "[start]", []
    while len(sentence) < 10:
        one_hot = np.eye(len(target_words), dtype="float32")[[[target_index[word]]]]
        probabilities, h, c = decoder_model.predict([one_hot, h, c], verbose=0)
        word = target_words[int(np.argmax(probabilities[0, -1]))]
        if word == "[end]":
            break
        sentence.append(word)
    return " ".join(sentence)


for i in range(2):
    print("-", pairs[-1 - i][0], "->", translate(encoder_input_data[-1 - i : num_samples - i]))
