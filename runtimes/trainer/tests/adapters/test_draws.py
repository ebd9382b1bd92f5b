"""What of a callback's code is taken for a draw from the global random generators."""

from __future__ import annotations

import random
import time
from random import gauss

import numpy as np
import pytest
from numpy.random import normal

from headrace_trainer.adapters.draws import may_draw


def noise():
    return normal()


class Sleeps:
    rng = np.random.default_rng(1)

    def on_epoch_begin(self, epoch):
        time.sleep(0)
        self.rng.normal()


class ByModule:
    def on_epoch_begin(self, epoch):
        return np.random.rand()


class ByName:
    def on_epoch_begin(self, epoch):
        return gauss(0, 1)


class ByFunction:
    def on_epoch_begin(self, epoch):
        return [noise() for _ in range(2)]


class Holds:
    def __init__(self, function):
        self.on_epoch_begin = function


def enclosing(function):
    return lambda epoch: function()


@pytest.mark.parametrize(
    ("callback", "draws"),
    [
        (Sleeps(), False),
        (ByModule(), True),
        (ByName(), True),
        (ByFunction(), True),
        (Holds(lambda epoch: random.random()), True),
        (Holds(enclosing(noise)), True),
        (Holds(enclosing(time.time)), False),
    ],
    ids=["none", "module", "name", "function", "lambda", "closure", "closure without"],
)
def test_draws_are_found_by_names(callback, draws):
    assert may_draw(callback) is draws
