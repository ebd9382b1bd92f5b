"""A state that was lost is found: no resume is called exact by what was saved alone, but by the steps that follow."""

from __future__ import annotations

import signal

import pytest

from thorough import thorough

SCRIPT = """
import keras, numpy as np, time
from headrace_trainer.adapters.keras.state import variables as state

# What is planted here a fault of ours, or a state in a place that nobody looks at, would do.
LOST = {lost!r}
plain = state.variables
state.variables = lambda model: [v for v in plain(model) if not any(word in v.path for word in LOST)]

rng = np.random.default_rng(1)
x = rng.normal(size=(320, 4)).astype("float32")
y = x @ rng.normal(size=(4, 1)).astype("float32")

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

layers = keras.layers.Dense(8, "tanh"), keras.layers.Dropout(0.3), keras.layers.Dense(1)
model = keras.Sequential([keras.Input([4]), *layers])
model.compile({optimizer}, "mse")
model.fit(x, y, batch_size=16, epochs=3, callbacks=[Slow()], verbose=0)
"""

ADAM, MOMENTUM = "keras.optimizers.Adam(0.01)", "keras.optimizers.SGD(0.01, momentum=0.9)"


@pytest.mark.parametrize(
    ("lost", "optimizer", "exact"),
    [
        ((), ADAM, True),
        (("_velocity",), ADAM, False),
        (("seed",), ADAM, False),
        thorough(("adam/",), ADAM, False),
        thorough(("_momentum",), MOMENTUM, False),
    ],
    ids=["nothing", "half of the optimizer", "the seed of a Dropout", "the optimizer", "momentum"],
)
def test_what_was_lost_is_found(lost, optimizer, exact, start_keras, tmp_path):
    script, checkpoints = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(SCRIPT.format(lost=lost, optimizer=optimizer))
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and 3 < m["step"] % 20 < 16 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras(script, resume_dir=max(checkpoints.glob("ckpt-*")))
    assert second.wait() == 0, second.stderr[-3000:]
    resume = second.of_type("resume")[-1]
    assert resume["exact"] is exact, resume
