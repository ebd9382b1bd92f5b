"""A copy of variables in memory, which is used again."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from later import Later

keras, tf = Later("keras"), Later("tensorflow")
host_copy = Later("headrace_trainer.adapters.keras.state.host_copy")


@pytest.fixture
def variables():
    return {
        "tensorflow": tf.Variable([1.0, 2.0]),
        "keras": keras.Variable([[3.0]]),
        "scalar": tf.Variable(4, dtype=tf.int64),
        "bfloat16": tf.Variable([5.0], dtype=tf.bfloat16),
    }


def test_what_was_copied_stays_when_the_variables_change(variables):
    copy = host_copy.HostCopy()
    taken = copy.take(variables)
    for variable in variables.values():
        variable.assign_add(tf.ones_like(variable.value if isinstance(variable, keras.Variable) else variable))
    later = copy.take(variables)

    assert {name: np.ravel(value)[0] for name, value in taken.items()} == {
        "tensorflow": 1,
        "keras": 3,
        "scalar": 4,
        "bfloat16": 5,
    }
    assert later["tensorflow"].tolist() == [2, 3]


def test_memory_that_nobody_holds_any_more_is_used_again(variables):
    copy = host_copy.HostCopy()
    first = copy.take(variables)
    address = first["tensorflow"].ctypes.data
    del first
    gc.collect()
    assert copy.take(variables)["tensorflow"].ctypes.data == address
