"""What is in a SavedModel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headrace_common.formats import ModelFormat
from headrace_trainer.adapters.models import Trained
from later import Later

keras, tf = Later("keras"), Later("tensorflow")
export, formats = (Later(f"headrace_trainer.adapters.keras.export.{name}") for name in ("servable", "formats"))


def test_each_weight_is_in_it_once(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(2048), keras.layers.Dense(1)])
    made = export.servable(Trained(model, tf.TensorSpec((None, 64)), lambda: np.ones((2, 64), "float32")))

    formats.write(made, ModelFormat.TENSORFLOW, tmp_path / "tensorflow")

    weights = sum(weight.value.numpy().nbytes for weight in model.weights)
    written = sum(path.stat().st_size for path in (tmp_path / "tensorflow" / "variables").iterdir())
    assert weights < written < 1.1 * weights
    assert len(tf.saved_model.load(str(tmp_path / "tensorflow")).variables) == len(model.weights)
