"""What is tried with a model before the server says that it is ready.

Two questions: which input does the model answer at all (the first run also allocates and optimises), and may requests
be computed together? A free first dimension is not enough for that: it may be time, or the model may look across rows.
So it is tried: different rows, alone and together, must give the same answers.

A model that answers nothing does not get ready, where that can be known: texts may have to be in a form that nobody can
guess, and free dimensions may depend on each other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headrace_onnxruntime.engine import Array, Engine, EngineError, Feed
from headrace_onnxruntime.refusals import REFUSALS
from headrace_onnxruntime.signature import Datatype, TensorSpec
from headrace_serving import shapes
from headrace_serving.failures import Reason, StartError
from headrace_serving.refusals import refusal
from headrace_serving.shapes import DYNAMIC

log = logging.getLogger("headrace_onnxruntime")

RELATIVE_TOLERANCE = {Datatype.FP16: 2e-2, Datatype.FP32: 1e-3, Datatype.FP64: 1e-6}
ABSOLUTE_TOLERANCE = 1e-5

# Of made-up inputs: any numbers, zeros, and the first ones with their signs turned. A model may drop or double rows by
# their values, and whole numbers have two variants only, those that are in any vocabulary.
_VARIANTS = (0, 1, 2, 3, 4)
_ZEROS, _TURNED = 3, 4
_WHOLE = (0, 1, 0, 0, 1)
# Which of them stands in which row, together: backwards or turned around they must not read the same.
_ROWS = (0, 1, 2, 3, 4, 1, 4)


@dataclass(frozen=True)
class WarmUp:
    """`known_good` is an input that the model answered; None when it answered none of those that were tried."""

    known_good: Feed | None
    rows_are_independent: bool


def warm_up(engine: Engine) -> WarmUp:
    """Run the model a few times with made-up inputs. Raises StartError when no input at all can have an answer; a model
    of which that is not known is served as it is.
    """
    sizes = shapes.sizes_to_try(spec.shape for spec in engine.signature.inputs)
    errors: list[EngineError] = []
    for size in sizes:
        for variant in _VARIANTS if len(sizes) == 1 else _VARIANTS[:1]:
            feed = _feed(engine, size, variant)
            try:
                engine.run(feed)
            except EngineError as error:
                log.info("warm-up with free dimensions of %d: %s", size, error)
                errors.append(error)
            else:
                return WarmUp(known_good=feed, rows_are_independent=_rows_are_independent(engine, size))
    if all(error.is_final for error in errors) or _are_easy_to_make_up(engine.signature.inputs):
        raise refusal(REFUSALS, str(errors[-1])) or StartError(
            Reason.MODEL_FAILS,
            f"The model answers no input that fits its signature: {errors[-1]}",
            "Run it with ONNX Runtime where it was exported: it loads, and cannot compute.",
        )
    log.warning("the model answered none of the made-up inputs; requests are not computed together")
    return WarmUp(known_good=None, rows_are_independent=False)


def _are_easy_to_make_up(inputs: Sequence[TensorSpec]) -> bool:
    """Several inputs with rows may need different numbers of them."""
    return sum(spec.has_free_rows for spec in inputs) <= 1 and all(map(_is_easy_to_make_up, inputs))


def _is_easy_to_make_up(spec: TensorSpec) -> bool:
    """Its shape is known but for its rows, and its values do not matter: whole numbers may be a shape, or places in a
    table in which none of the made-up ones is (years).
    """
    if spec.datatype is Datatype.BYTES or DYNAMIC in spec.shape[1:]:
        return False
    return spec.datatype.dtype.kind in "fb"


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
    """Inputs of one row; each variant has other values, and each input too: what cancels out would show nothing."""
    return {spec.name: _tensor(spec, size, variant, index) for index, spec in enumerate(engine.signature.inputs)}


def _tensor(spec: TensorSpec, size: int, variant: int, index: int) -> Array:
    shape = shapes.one_row(spec.shape, size)
    if spec.datatype is Datatype.BYTES:
        return np.full(shape, "abcde"[(variant + index) % len(_VARIANTS)], dtype=object)
    if not spec.datatype.is_float:
        return np.full(shape, _WHOLE[(variant + index) % len(_VARIANTS)], dtype=spec.datatype.dtype)
    if variant == _ZEROS:
        return np.zeros(shape, dtype=spec.datatype.dtype)
    if variant == _TURNED:
        return -_tensor(spec, size, 0, index)
    return np.random.default_rng((variant, index)).standard_normal(shape).astype(spec.datatype.dtype)
