"""The parts of a model that cannot be called: of a VAE or a GAN with a `train_step` of its own and no `call`, what can
be served is an encoder, a decoder or a generator that is its attribute.
"""

from __future__ import annotations

from typing import Any

import keras


def parts_of(model: Any) -> list[tuple[str, Any]]:
    """Attributes that are models with weights and can be called, by their names; none where the model itself can be."""
    if _can_be_called(model):
        return []
    found = {
        id(value): (name, value)
        for name, value in reversed(vars(model).items())
        if isinstance(value, keras.Model) and value.built and value.weights and _can_be_called(value)
    }
    return list(reversed(found.values()))


def _can_be_called(model: Any) -> bool:
    return type(model).call is not keras.Model.call
