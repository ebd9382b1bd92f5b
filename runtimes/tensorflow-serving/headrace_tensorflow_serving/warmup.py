"""What is tried with a model before the server takes requests: each signature computes a made-up input once.

The first run of a signature optimizes its graph and allocates, which no client should have to wait for.
"""

from __future__ import annotations

import logging

import numpy as np

from headrace_serving import shapes
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.model import Engine
from headrace_tensorflow_serving.signature import Array, Family, Signature, TensorSpec

log = logging.getLogger("headrace_tensorflow_serving")


def warm_up(engine: Engine) -> None:
    """Run every signature. One that refuses all made-up inputs is served as it is."""
    for signature in engine.signatures.values():
        sizes = shapes.sizes_to_try(spec.shape or () for spec in signature.inputs)
        if not any(_answers(engine, signature, size) for size in sizes):
            log.warning("signature %r answered none of the made-up inputs; it is served all the same", signature.name)


def _answers(engine: Engine, signature: Signature, size: int) -> bool:
    feed = {spec.name: _tensor(spec, size) for spec in signature.inputs}
    try:
        engine.run(signature, feed, signature.outputs)
    except CodedError as error:
        log.info("warm-up of signature %r with free dimensions of %d: %s", signature.name, size, error.message)
        return False
    return True


def _tensor(spec: TensorSpec, size: int) -> Array:
    """One row. Whole numbers are 0, which is in any vocabulary."""
    shape = shapes.one_row(spec.shape or (), size)
    if spec.family is Family.TEXT:
        return np.full(shape, b"a", dtype=object)
    if spec.family is Family.FLOAT:
        return np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)
    return np.zeros(shape, dtype=spec.dtype)
