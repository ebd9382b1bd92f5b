# What a tuner does: models come and go, the best one's file is loaded.
import keras
from model_data import build, training, validation


def trial(number):
    model = build(f"trial_{number}", units=2 + number)
    model.fit(*training, epochs=1, validation_data=validation, verbose=0)
    model.save(f"trial-{number}.keras")
    return model.evaluate(*validation, verbose=0)[0]


losses = [trial(number) for number in range(3)]
best = losses.index(min(losses))
winner = keras.models.load_model(f"trial-{best}.keras")
winner.evaluate(*validation, verbose=0)
EXPECTED = winner
DROPPED = 2
