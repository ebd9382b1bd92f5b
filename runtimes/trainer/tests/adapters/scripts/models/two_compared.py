# Which of the two is wanted only the reader of the numbers knows.
from model_data import build, training, validation

small, large = build("small", units=2), build("large", units=8)
for model in (small, large):
    model.fit(*training, epochs=1, verbose=0)
losses = [model.evaluate(*validation, verbose=0)[0] for model in (small, large)]
EXPECTED = [small, large]
