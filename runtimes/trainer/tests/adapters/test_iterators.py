"""How long tf.data's iterators live in a fit that is followed: as long as in one that is not.

The end of one waits for its thread that tunes the pipeline, which may sleep for the longer, the longer the iterator has
lived: up to seconds, in which nothing is trained.
"""

from __future__ import annotations

import json

import pytest

# Writes how many iterators are alive when an epoch begins, when it has trained, and when it has ended.
SCRIPT = """
import json, sys, weakref
import keras, numpy as np
from tensorflow.python.data.ops import iterator_ops

made, counts = [], []
init = iterator_ops.OwnedIterator.__init__
def remembered(self, *args, **kwargs):
    init(self, *args, **kwargs)
    made.append(weakref.ref(self))
iterator_ops.OwnedIterator.__init__ = remembered

class Count(keras.callbacks.Callback):
    def count(self, *_):
        counts.append(sum(ref() is not None for ref in made))
    on_epoch_begin = on_test_begin = on_test_end = on_epoch_end = count

x, y = np.zeros((64, 4)), np.zeros((64, 1))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=[Count()])
with open(sys.argv[1], "w") as file:
    json.dump(counts, file)
"""


TUNED = """
import json, sys
import keras, numpy as np
import tensorflow as tf
from tensorflow.python.data.ops import iterator_ops

tuned = []
init = iterator_ops.OwnedIterator.__init__
def remembered(self, dataset=None, *args, **kwargs):
    init(self, dataset, *args, **kwargs)
    if dataset is not None:  # else it is the same one, inside of a function
        tuned.append(dataset.options().autotune.enabled)
iterator_ops.OwnedIterator.__init__ = remembered

x, y = np.zeros((64, 4)), np.zeros((64, 1))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y))
of_arrays, tuned[:] = list(tuned), []
model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), verbose=0)
with open(sys.argv[1], "w") as file:
    json.dump([of_arrays, tuned], file)
"""


def test_keras_own_pipeline_of_arrays_is_not_tuned_and_one_s_own_is_as_it_was(start_keras, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TUNED)
    child = start_keras(script, str(tmp_path / "tuned"))
    assert child.wait() == 0, child.stderr[-3000:]
    of_arrays, of_pipeline = json.loads((tmp_path / "tuned").read_text())
    assert len(of_arrays) >= 4
    assert set(of_arrays) == {False}
    assert set(of_pipeline) == {None}


@pytest.mark.parametrize("replay_seconds", [0, 600])
def test_none_outlives_its_epoch_that_would_not_by_itself(start_keras, interpreter, tmp_path, replay_seconds):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    interpreter.run(script, [str(tmp_path / "plain")])

    settings = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 0.01}
    child = start_keras(script, str(tmp_path / "followed"), replay_seconds=replay_seconds, **settings)
    assert child.wait() == 0, child.stderr[-3000:]

    plain, followed = (json.loads((tmp_path / name).read_text()) for name in ("plain", "followed"))
    assert followed == plain
    assert len(plain) == 12
