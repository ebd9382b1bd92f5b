"""Variables are found again by their names, and by their order where only the numbers in the names are others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace_trainer.adapters.checkpoint import CheckpointError
from later import Later

keras, state = Later("keras"), Later("headrace_trainer.adapters.keras.state.variables")


def built(units: int = 3, name: str = "dense") -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, name=name)])
    model.compile("sgd", "mse")
    return model


def saved(model: Any) -> dict[str, Any]:
    return {name: np.array(variable.numpy()) for name, variable in state.named_variables(model).items()}


def test_names_with_other_numbers_are_the_same_variables():
    before, after = built(name="dense_3"), built(name="dense_12")
    assert state.load_variables(after, saved(before)) == ""
    np.testing.assert_array_equal(after.layers[0].kernel.numpy(), before.layers[0].kernel.numpy())


def test_two_variables_of_one_name_are_both_kept():
    model = built()
    model.one, model.other = keras.Variable(1.0, name="same"), keras.Variable(2.0, name="same")
    kept = saved(model)
    model.one.assign(0.0)
    model.other.assign(0.0)
    assert state.load_variables(model, kept) == ""
    assert (float(model.one), float(model.other)) == (1.0, 2.0)


def test_what_has_not_been_made_is_named_and_the_rest_is_put_back():
    before, after = built(), built()
    before.average = keras.Variable(1.0, name="average")
    assert state.load_variables(after, saved(before)) == (
        "the checkpoint holds average, which has not been made so far"
    )
    np.testing.assert_array_equal(after.layers[0].kernel.numpy(), before.layers[0].kernel.numpy())


def test_what_had_not_been_made_is_named_and_the_rest_is_put_back():
    before, after = built(), built()
    after.average = keras.Variable(1.0, name="average")
    assert state.load_variables(after, saved(before)) == "average had not been made when the checkpoint was taken"
    np.testing.assert_array_equal(after.layers[0].kernel.numpy(), before.layers[0].kernel.numpy())


@pytest.mark.parametrize("other", [lambda: built(units=4), lambda: built(name="another")], ids=["shape", "name"])
def test_another_model_is_refused(other):
    with pytest.raises(CheckpointError, match="the script has changed since it was taken"):
        state.load_variables(other(), saved(built()))
