"""A model with chance in it: what is random is compared in shape, all else in value."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from headrace_trainer.adapters.keras.export.servable import ExportError, Servable, servable
from headrace_trainer.adapters.models import Trained

X = np.arange(12, dtype="float32").reshape(4, 3)


class Sample(keras.layers.Layer):
    """Draws, at inference too."""

    def call(self, mean):
        return mean + tf.random.normal(tf.shape(mean))


@pytest.fixture
def made() -> Servable:
    """A model that doubles, and draws a sample around that."""
    inputs = keras.Input((3,), name="x")
    mean = keras.layers.Rescaling(2.0, name="mean")(inputs)
    model = keras.Model(inputs, [mean, Sample(name="sample")(mean)])
    return servable(Trained(model, tf.TensorSpec((None, 3)), lambda: X))


def test_the_outputs_that_are_random_are_known(made: Servable) -> None:
    assert made.random == ["sample"]


def test_other_values_of_the_random_output_are_no_difference(made: Servable) -> None:
    made.check("the copy", lambda inputs: {"mean": inputs["x"] * 2, "sample": inputs["x"]})


def test_other_values_of_the_other_output_are(made: Servable) -> None:
    with pytest.raises(ExportError, match="the copy computes other values than Keras: mean differs by"):
        made.check("the copy", lambda inputs: {"mean": inputs["x"] * 3, "sample": inputs["x"]})


def test_another_shape_of_the_random_output_is(made: Servable) -> None:
    with pytest.raises(ExportError, match=r"sample is float32 \[4, 2\], not float32 \[4, 3\]"):
        made.check("the copy", lambda inputs: {"mean": inputs["x"] * 2, "sample": inputs["x"][:, :2]})
