"""What is tried with a model before the server says that it is ready.

Two questions: which input does the model answer at all (the first run also allocates and optimises), and may requests
be computed together? A free first dimension is not enough for that: it may be time, or the model may look across rows.
So it is tried: different rows, alone and together, must give the same answers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headrace_onnxruntime.engine import Array, Engine, EngineError, Feed
from headrace_onnxruntime.signature import Datatype, TensorSpec
from headrace_serving import shapes

log = logging.getLogger("headrace_onnxruntime")

RELATIVE_TOLERANCE = {Datatype.FP16: 2e-2, Datatype.FP32: 1e-3, Datatype.FP64: 1e-6}
ABSOLUTE_TOLERANCE = 1e-5

# Which variant of the made-up input stands in which row: whole numbers have two variants only, and backwards or turned
# around they must not read the same, as a model may turn its rows around.
_VARIANTS = (0, 1, 2)
_ROWS = (0, 1, 2, 1, 0, 0)


@dataclass(frozen=True)
class WarmUp:
    """`known_good` is an input that the model answered; None when it answered none of those that were tried."""

    known_good: Feed | None
    rows_are_independent: bool


def warm_up(engine: Engine) -> WarmUp:
    """Run the model a few times with made-up inputs. A model that refuses all of them is served as it is."""
    for size in shapes.sizes_to_try(spec.shape for spec in engine.signature.inputs):
        first = _feed(engine, size, variant=0)
        try:
            engine.run(first)
        except EngineError as error:
            log.info("warm-up with free dimensions of %d: %s", size, error)
            continue
        return WarmUp(known_good=first, rows_are_independent=_rows_are_independent(engine, size))
    log.warning("the model answered none of the made-up inputs; requests are not computed together")
    return WarmUp(known_good=None, rows_are_independent=False)


def _rows_are_independent(engine: Engine, size: int) -> bool:
    signature = engine.signature
    if not all(spec.has_free_rows for spec in (*signature.inputs, *signature.outputs)):
        return False
    feeds = [_feed(engine, size, variant) for variant in _VARIANTS]
    together = {name: np.concatenate([feeds[variant][name] for variant in _ROWS]) for name in feeds[0]}
    try:
        answers = [engine.run(feed) for feed in feeds]
        joined = engine.run(together)
    except EngineError as error:
        log.info("requests are not computed together: %s", error)
        return False
    for index, spec in enumerate(signature.outputs):
        if not _equal(spec, [answers[variant][index] for variant in _ROWS], joined[index]):
            log.info("requests are not computed together: %r depends on its neighbours", spec.name)
            return False
    return True


def _equal(spec: TensorSpec, alone: list[Array], joined: Array) -> bool:
    if any(part.ndim == 0 or len(part) != 1 for part in alone) or any(
        left.shape != right.shape for left, right in pairwise(alone)
    ):
        return False
    expected = np.concatenate(alone)
    if expected.shape != joined.shape:
        return False
    if spec.datatype.is_float:
        tolerance = RELATIVE_TOLERANCE[spec.datatype]
        return bool(np.allclose(joined, expected, rtol=tolerance, atol=ABSOLUTE_TOLERANCE, equal_nan=True))
    return bool(np.array_equal(joined, expected))


def _feed(engine: Engine, size: int, variant: int) -> dict[str, Array]:
    """Inputs of one row; each variant has other values."""
    return {spec.name: _tensor(spec, size, variant) for spec in engine.signature.inputs}


def _tensor(spec: TensorSpec, size: int, variant: int) -> Array:
    shape = shapes.one_row(spec.shape, size)
    if spec.datatype is Datatype.BYTES:
        return np.full(shape, "abc"[variant], dtype=object)
    if spec.datatype.is_float:
        return np.random.default_rng(variant).standard_normal(shape).astype(spec.datatype.dtype)
    # Small and known to be in any vocabulary of two or more.
    return np.full(shape, variant % 2, dtype=spec.datatype.dtype)
