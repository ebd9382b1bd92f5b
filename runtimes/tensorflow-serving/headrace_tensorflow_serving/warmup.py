"""What is tried with a model before the server takes requests: each signature computes a made-up input once.

The first run of a signature optimizes its graph and allocates, which no client should have to wait for.

A model that answers nothing does not get ready, where that can be known: texts may have to be in a form that nobody can
guess, and free dimensions may depend on each other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from headrace_serving import shapes
from headrace_serving.failures import Reason, StartError
from headrace_serving.refusals import refusal
from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.model import Engine
from headrace_tensorflow_serving.refusals import REFUSALS
from headrace_tensorflow_serving.signature import Array, Family, Signature, TensorSpec

log = logging.getLogger("headrace_tensorflow_serving")


def warm_up(engine: Engine) -> frozenset[str]:
    """Run every signature; the names of those that gave an answer.

    Raises StartError when no input at all can have one; a signature of which that is not known is served as it is.
    """
    failures: dict[str, list[CodedError]] = {}
    for name, signature in engine.signatures.items():
        if errors := _errors(engine, signature):
            log.warning("signature %r answered none of the made-up inputs", name)
            failures[name] = errors
    hopeless = {name: errors[-1] for name, errors in failures.items() if _is_hopeless(engine.signatures[name], errors)}
    if len(hopeless) == len(engine.signatures):
        name, error = next(iter(hopeless.items()))
        raise refusal(REFUSALS, error.message) or StartError(
            Reason.MODEL_FAILS,
            f"The model answers no input that fits its signature {name!r}: {error.message}",
            "Load it with tf.saved_model.load where there is none of its Python, and call it.",
        )
    return frozenset(engine.signatures) - frozenset(failures)


def _errors(engine: Engine, signature: Signature) -> list[CodedError]:
    """Of all made-up inputs; none when one of them was answered."""
    errors: list[CodedError] = []
    for size in shapes.sizes_to_try(spec.shape or () for spec in signature.inputs):
        for value in (None, 0, 1):
            feed = {spec.name: _tensor(spec, size, value) for spec in signature.inputs}
            try:
                engine.run(signature, feed, signature.outputs)
            except CodedError as error:
                log.info("warm-up of signature %r with free dimensions of %d: %s", signature.name, size, error.message)
                errors.append(error)
            else:
                return []
    return errors


def _is_hopeless(signature: Signature, errors: Sequence[CodedError]) -> bool:
    """What is missing is missing for any input; else the inputs must be such that it is not they that were wrong."""
    is_missing = all(error.code is Code.UNIMPLEMENTED or refusal(REFUSALS, error.message) for error in errors)
    return is_missing or _are_easy_to_make_up(signature.inputs)


def _are_easy_to_make_up(inputs: Sequence[TensorSpec]) -> bool:
    """Several inputs with rows may need different numbers of them."""
    with_rows = [spec for spec in inputs if shapes.has_free_rows(spec.shape or ())]
    return len(with_rows) <= 1 and all(map(_is_easy_to_make_up, inputs))


def _is_easy_to_make_up(spec: TensorSpec) -> bool:
    """Its shape is known but for its rows, and its values do not matter: whole numbers may be a shape, or places in a
    table in which none of the made-up ones is (years).
    """
    return (
        spec.shape is not None
        and shapes.DYNAMIC not in spec.shape[1:]
        and spec.family in (Family.FLOAT, Family.BOOLEAN)
    )


def _tensor(spec: TensorSpec, size: int, value: int | None) -> Array:
    """One row, all of `value`, which is in most vocabularies; None: numbers with a point are any, all others 0."""
    shape = shapes.one_row(spec.shape or (), size)
    if spec.family is Family.TEXT:
        return np.full(shape, b"a", dtype=object)
    if spec.family is Family.FLOAT and value is None:
        return np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)
    return np.full(shape, value or 0, dtype=spec.dtype)
