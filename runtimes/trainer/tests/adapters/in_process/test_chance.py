"""A model with chance in it: what is random is compared in shape, all else in value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace_trainer.adapters.models import Trained
from later import Later

keras, tf = Later("keras"), Later("tensorflow")
export = Later("headrace_trainer.adapters.keras.export.servable")

X = np.arange(12, dtype="float32").reshape(4, 3)


@pytest.fixture
def made() -> Any:
    """A model that doubles, and draws a sample around that, at inference too."""

    class Sample(keras.layers.Layer):
        def call(self, mean):
            return mean + tf.random.normal(tf.shape(mean))

    inputs = keras.Input((3,), name="x")
    mean = keras.layers.Rescaling(2.0, name="mean")(inputs)
    model = keras.Model(inputs, [mean, Sample(name="sample")(mean)])
    return export.servable(Trained(model, tf.TensorSpec((None, 3)), lambda: X))


def test_the_outputs_that_are_random_are_known(made: Any) -> None:
    assert made.random == ["sample"]


def test_other_values_of_the_random_output_are_no_difference(made: Any) -> None:
    made.check("the copy", lambda inputs: {"mean": inputs["x"] * 2, "sample": inputs["x"]})


def test_other_values_of_the_other_output_are(made: Any) -> None:
    with pytest.raises(export.ExportError, match="the copy computes other values than Keras: mean differs by"):
        made.check("the copy", lambda inputs: {"mean": inputs["x"] * 3, "sample": inputs["x"]})


def test_another_shape_of_the_random_output_is(made: Any) -> None:
    with pytest.raises(export.ExportError, match=r"sample is float32 \[4, 2\], not float32 \[4, 3\]"):
        made.check("the copy", lambda inputs: {"mean": inputs["x"] * 2, "sample": inputs["x"][:, :2]})
