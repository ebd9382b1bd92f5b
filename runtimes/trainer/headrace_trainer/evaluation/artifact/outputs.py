"""Which output is judged, and whether it has probabilities, logits or classes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from headrace_trainer.evaluation.artifact.kind import Array, Tensor
from headrace_trainer.evaluation.refusal import Refusal, listed

_NEAR_ONE = 1e-2
_ROUNDED = 1e-4  # beyond 0 and 1: single precision adds shares up to 1.0000001


class Kind(StrEnum):
    """What numbers a classifier gives."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    SIGMOIDS = "a probability for each class by itself"
    CLASSES = "classes"


def chosen(outputs: Sequence[Tensor], name: str) -> Tensor:
    """The output that the spec names, or the one that is evident: the only one, or the only one with broken numbers (a
    classifier of scikit-learn's has its class beside its probabilities). Raises Refusal.
    """
    named = [tensor for tensor in outputs if tensor.name == name]
    broken = [tensor for tensor in outputs if tensor.is_float]
    if name and not named:
        raise Refusal(
            f"the model has no output {name!r}; its outputs are {listed(map(str, outputs))}",
            "Correct evaluate.data.output.",
        )
    found = named or (outputs if len(outputs) == 1 else broken)
    if len(found) != 1:
        raise Refusal(
            f"the model has several outputs, and it is not evident which one is judged: {listed(map(str, outputs))}",
            "Name one in evaluate.data.output.",
        )
    return found[0]


def kind_of(values: Array, *, by_class: bool) -> Kind:
    """What a batch of finite numbers is; `by_class`: its last dimension has a number a class."""
    if values.size and (values.min() < -_ROUNDED or values.max() > 1 + _ROUNDED):
        return Kind.LOGITS
    if by_class and values.size and np.abs(values.sum(axis=-1) - 1).max() > _NEAR_ONE:
        return Kind.SIGMOIDS
    return Kind.PROBABILITIES


def probabilities(values: Array, kind: Kind) -> Array:
    """A row a row, and a column a class; a single column is the second one of two."""
    given = values.astype(np.float64)
    if given.ndim == 1 or given.shape[-1] == 1:
        flat = given.reshape(-1)
        second = _sigmoid(flat) if kind is Kind.LOGITS else np.clip(flat, 0, 1)
        return np.stack([1 - second, second], axis=1)
    if kind is Kind.LOGITS:
        given = np.exp(given - given.max(axis=-1, keepdims=True))
    given = np.maximum(given, 0)
    whole = given.sum(axis=-1, keepdims=True)
    found: Array = np.where(whole > 0, given / np.where(whole > 0, whole, 1), 1 / given.shape[-1])
    return found


def log_probabilities(values: Array, kind: Kind) -> Array:
    """Over the last dimension; of large arrays, so in their own precision."""
    if kind is Kind.LOGITS:
        shifted = values - values.max(axis=-1, keepdims=True)
        found: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return found
    least = np.finfo(values.dtype).tiny
    given = np.maximum(values, 0)
    whole = np.maximum(given.sum(axis=-1, keepdims=True), least)
    logs: Array = np.log(np.maximum(given / whole, least))
    return logs


def _sigmoid(values: Array) -> Array:
    small = np.exp(-np.abs(values))
    found: Array = np.where(values >= 0, 1 / (1 + small), small / (1 + small))
    return found
