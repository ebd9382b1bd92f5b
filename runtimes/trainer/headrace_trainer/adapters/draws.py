"""Whether code of the script's own draws from the global random generators, as far as its names tell.

Asked of callbacks where nothing else can tell: data that draws from the same generators, ahead of the training, has
moved them as well. Functions that are reached by global names and closures are followed; what is called on an object is
not.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from headrace_trainer.adapters.functions import TooMuchCode, attributes_of, codes_of, functions_of, reached_by


def may_draw(callback: Any) -> bool:
    """Of an object's methods, and of functions that it holds."""
    held = attributes_of(callback)
    if any(_is_generator(value) for value in held):
        return True
    try:
        return any(
            any("random" in code.co_names for code in codes_of(function))
            or any(_is_generator(value) for _, value in reached_by(function))
            for function in functions_of(held)
        )
    except TooMuchCode:
        return True


def _is_generator(value: Any) -> bool:
    """A global one, its module, or a method of it."""
    if value is random or value is np.random:
        return True
    return isinstance(getattr(value, "__self__", None), random.Random | np.random.RandomState)
