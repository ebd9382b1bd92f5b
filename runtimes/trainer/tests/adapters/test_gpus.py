"""GPUs that were asked for and are not seen end a script when it imports Keras. There is no GPU here: that TensorFlow
sees none is real, that it sees some is not tried.
"""

from __future__ import annotations

TRAINS = """
import keras
print("imported")
import numpy as np
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 4)), np.ones((8, 1)), epochs=1)
"""


def test_a_script_that_asked_for_a_gpu_and_sees_none_ends_before_it_trains(start_keras, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAINS)
    child = start_keras(script, gpus=1)
    assert child.wait() == 2
    [refused] = child.of_type("refused")
    assert refused["reason"] == "GpuNotVisible"
    assert refused["message"].startswith("resources ask for 1 GPU(s), and TensorFlow ")
    assert "trainer.gpuImage" in refused["hint"]  # the tests' TensorFlow is for CPUs
    assert "imported" not in child.stdout
    assert not child.of_type("fit")


def test_a_script_that_asked_for_none_trains(start_keras, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAINS)
    child = start_keras(script, gpus=0)
    assert child.wait() == 0, child.stderr[-3000:]
