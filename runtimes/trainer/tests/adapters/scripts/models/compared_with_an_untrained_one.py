# The yardstick comes last: what two trained ones said stays what was asked.
from model_data import build, training, validation

first, second = build(), build(units=5)
for model in (first, second):
    model.fit(*training, epochs=1, validation_data=validation, verbose=0)
for model in (first, second, first, build(units=6)):
    model.evaluate(*validation, verbose=0)
EXPECTED, LAST_EPOCH = first, 0
