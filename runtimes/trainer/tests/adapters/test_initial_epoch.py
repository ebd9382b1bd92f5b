"""A fit that begins at a later epoch than the first: `fit(initial_epoch=...)`, as fine-tuning is written."""

from __future__ import annotations

import json
import signal

SCRIPT = """
import json, sys, time
import keras, numpy as np
keras.utils.set_random_seed(1)
x = np.random.default_rng(1).normal(size=(64, 4))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(float(sys.argv[2])))
history = model.fit(x, x[:, :1], epochs=3, verbose=0)
last = model.fit(x, x[:, :1], epochs=9, initial_epoch=len(history.epoch), verbose=0, callbacks=[slow])
with open(sys.argv[1], "w") as file:
    json.dump([last.epoch, last.history["loss"]], file)
"""


def test_it_says_where_it_begins_and_goes_on_exactly(start_keras, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    whole = start_keras(script, str(tmp_path / "whole"), "0")
    assert whole.wait() == 0, whole.stderr[-3000:]
    assert [(m["epochs"], m.get("firstEpoch")) for m in whole.of_type("fit")] == [(3, None), (9, 3)]

    checkpoints = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 0.05}
    first = start_keras(script, str(tmp_path / "never"), "0.2", **checkpoints)
    first.wait_until(lambda messages: any(m["type"] == "step" and (m["fit"], m["step"]) == (1, 5) for m in messages))
    first.signal(signal.SIGTERM)
    first.wait()

    again = start_keras(script, str(tmp_path / "again"), "0", resume_dir=max((tmp_path / "checkpoints").glob("ckpt-*")))
    assert again.wait() == 0, again.stderr[-3000:]
    assert again.of_type("resume")[-1]["exact"] is True
    assert again.of_type("fit")[-1]["firstEpoch"] == 3
    assert json.loads((tmp_path / "again").read_text()) == json.loads((tmp_path / "whole").read_text())
