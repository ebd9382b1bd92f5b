"""One seed for every generator of random numbers, so that a second run of the script draws the same numbers as the
first.

Each generator is seeded when its module has been imported, before the script can have seeded it itself: the script's
own seed wins. The hashes of strings are random too (the order of a set of words decides a vocabulary): Python takes
their seed from its environment only, so the process is started again with it.

A generator that nobody seeds (`numpy.random.default_rng()`) takes its seed from the system: from here on, from this one
seed, each the next one. Not in a forked process: two of them would draw the same numbers.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable
from typing import Any

_HASH_SEED = "PYTHONHASHSEED"
_NUMPY_SEEDS = 2**32


def fix_string_hashes(seed: int) -> None:
    """Starts this process again (same id, same descriptors) with a fixed hash seed, unless it has one."""
    if _HASH_SEED in os.environ:
        return
    environment = {**os.environ, _HASH_SEED: str(seed % _NUMPY_SEEDS)}
    descriptor = os.environ.get("HEADRACE_CHILD_FD")
    if descriptor:
        os.set_inheritable(int(descriptor), True)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def calls_after_import(seed: int) -> dict[str, Callable[[], None]]:
    """Seeds Python's generator now, and says what to call after which import for the others."""
    random.seed(seed)

    def numpy() -> None:
        import numpy as np

        np.random.seed(seed % _NUMPY_SEEDS)
        _seed_new_generators(seed)

    def tensorflow() -> None:
        import tensorflow as tf

        tf.random.set_seed(seed)

    return {"numpy": numpy, "tensorflow": tensorflow}


def _seed_new_generators(seed: int) -> None:
    """All of numpy's generators ask one function of the module for bits when they are made without a seed."""
    bit_generator: Any = importlib.import_module("numpy.random.bit_generator")
    of_the_system = bit_generator.randbits
    bit_generator.randbits = random.Random(seed).getrandbits
    os.register_at_fork(after_in_child=lambda: setattr(bit_generator, "randbits", of_the_system))
