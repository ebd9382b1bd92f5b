"""The format Keras: a file that is trained on with, the same for the same model."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from later import Later

keras, saving_lib = Later("keras"), Later("keras.src.saving.saving_lib")
keras_file = Later("headrace_trainer.adapters.keras.export.file")
TRAINER = Path(__file__).resolve().parents[3]


@functools.cache
def scale() -> type:
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(1,), initializer="ones")

        def call(self, x):
            return x * self.factor

    return Scale


@functools.cache
def forgetful() -> type:
    class Forgetful(scale()):
        def load_own_variables(self, store):
            pass

    return Forgetful


def trained(*layers):
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    return model


def test_a_loaded_file_trains_on_with_its_optimizers_state(tmp_path):
    model = trained(scale()(), keras.layers.Lambda(lambda x: x + 1))
    keras_file.write(model, tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Scale": scale()}, safe_mode=False)

    for candidate in (model, loaded):
        candidate.fit(np.ones((4, 3)), np.zeros((4, 1)), verbose=0)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_the_same_model_has_the_same_bytes_at_another_time(tmp_path):
    model = trained()
    keras_file.write(model, tmp_path / "a.keras")
    time.sleep(2.1)  # dates in a zip file are of two seconds
    keras_file.write(model, tmp_path / "b.keras")

    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert zipfile.ZipFile(tmp_path / "a.keras").testzip() is None
    assert {path.name for path in tmp_path.iterdir()} == {"a.keras", "b.keras"}


def test_a_file_that_lost_weights_is_not_taken_for_the_model(tmp_path):
    with pytest.raises(keras_file.ExportError, match="other weights"):
        keras_file.write(trained(forgetful()()), tmp_path / "model.keras")


MAKES = """
import sys
from pathlib import Path
import keras
from headrace_trainer.adapters.keras.export import file

keras.utils.set_random_seed(1)
junk = [object() for _ in range(int(sys.argv[1]))]
shared = keras.regularizers.L2(0.1)
layers = [keras.layers.Dense(3, kernel_regularizer=shared) for _ in range(2)]
file.write(keras.Sequential([keras.Input((3,)), *layers]), Path(sys.argv[2]))
"""


def test_the_same_model_has_the_same_bytes_in_another_process(interpreter, tmp_path):
    paths, script = [tmp_path / name for name in ("a.keras", "b.keras")], tmp_path / "makes.py"
    script.write_text(MAKES)
    interpreter.run(script, ["0", str(paths[0])])
    command = [sys.executable, str(script), "100000", str(paths[1])]
    # A fork has the seed of its interpreter's hashes.
    environment = {**os.environ, "PYTHONPATH": str(TRAINER), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "6"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_weights_go_by_way_of_the_disk_whatever_memory_there_is(tmp_path, monkeypatch):
    asked, original = [], saving_lib.is_memory_sufficient

    def is_memory_sufficient(model):
        asked.append(original(model))
        return asked[-1]

    monkeypatch.setattr(saving_lib.module(), "is_memory_sufficient", is_memory_sufficient)
    model = trained()

    keras_file.write(model, tmp_path / "model.keras")

    assert asked == [False, False]  # written, read
    assert original(model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
