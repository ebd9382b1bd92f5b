"""Explains rows by asking the model, in a thread, until the time of the request is over or nobody waits any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from headrace_explain.explain import explain
from headrace_explain.kind import Explanation, Method, NotExplainable, OutOfTime
from headrace_explainer import background as backgrounds
from headrace_explainer.background import Rows
from headrace_explainer.protocol import Question
from headrace_onnxruntime.engine import Array, Engine, EngineError
from headrace_onnxruntime.signature import Datatype, Signature
from headrace_onnxruntime.warmup import WarmUp
from headrace_serving.failures import Reason, RequestError, StartError

# Of a request's time: what is left when the method has to come to its end, for its last run and the answer.
RESERVE = 0.2
_HINT = "Take spec.explain off this service, or export the model with {wish}."


class Abandoned(Exception):
    """Nobody waits for the answer any more, or it would come too late."""


class Explainer:
    """Create with the engine and its warm-up; may be used from any thread."""

    def __init__(self, engine: Engine, warm: WarmUp, background: Rows | None, max_batch: int) -> None:
        self._engine = engine
        self._background = background
        # Where the answers of rows depend on their neighbours, each is asked alone, as it would be for an inference.
        self._batch = max_batch if warm.rows_are_independent else 1

    @property
    def signature(self) -> Signature:
        return self._engine.signature

    def explain(self, question: Question, until: float, is_abandoned: Callable[[], bool]) -> Explanation:
        """`until` is a moment of the monotonic clock. Raises RequestError(400), Abandoned."""
        background = self._background or backgrounds.zeros_like(question.rows)
        backgrounds.require_same_form(background, question.rows)
        output = _explained(question.output, self.signature)
        try:
            return explain(
                _Asked(self._engine, output, self._batch, until, is_abandoned),
                question.rows,
                background,
                method=Method(question.method),
                output=output,
                target=question.target,
                budget=question.budget,
                deadline=(until - time.monotonic()) * (1 - RESERVE),
            )
        except OutOfTime as error:
            raise Abandoned from error
        except NotExplainable as error:
            raise RequestError(400, f"this request cannot be explained: {error.reason}") from error


class _Asked:
    """The model as headrace_explain asks it: for one output of many rows, in runs that are bounded, and none after the
    end. What else a model puts out may be large, and is kept for no row.
    """

    def __init__(self, engine: Engine, output: str, batch: int, until: float, is_abandoned: Callable[[], bool]) -> None:
        self._engine = engine
        self._output = output
        self._index = [spec.name for spec in engine.signature.outputs].index(output)
        self._batch = batch
        self._until = until
        self._is_abandoned = is_abandoned

    def __call__(self, rows: Mapping[str, Array]) -> dict[str, Array]:
        count = len(next(iter(rows.values())))
        parts = [
            self._run({name: values[start : start + self._batch] for name, values in rows.items()})
            for start in range(0, count, self._batch)
        ]
        return {self._output: np.concatenate([np.atleast_1d(part) for part in parts])}

    def _run(self, rows: Mapping[str, Array]) -> Array:
        if self._is_abandoned() or time.monotonic() > self._until:
            raise Abandoned
        typed = {
            spec.name: np.ascontiguousarray(rows[spec.name], dtype=spec.datatype.dtype)
            for spec in self._engine.signature.inputs
        }
        try:
            return self._engine.run(typed)[self._index]
        except EngineError as error:
            raise RequestError(400, f"the model cannot compute this request: {error}") from error


def _explained(named: str | None, signature: Signature) -> str:
    """A classifier may name the class in its first output, and have its probabilities in the second. The number of a
    class is no amount: nothing adds up to it. Raises RequestError(400).
    """
    scores = [spec.name for spec in signature.outputs if spec.datatype.is_float]
    if named is None:
        return scores[0]
    if named not in scores:
        [datatype] = [spec.datatype for spec in signature.outputs if spec.name == named]
        others = ", ".join(map(repr, scores))
        raise RequestError(
            400,
            f"output {named!r} cannot be explained: it is {datatype.value}, such as the number of a class, and no "
            f"amount to which values add; outputs that can be: {others}",
        )
    return named


def require_explainable(signature: Signature) -> None:
    """Raises StartError(NotExplainable) for a model of which no request could be explained."""
    texts = [spec.name for spec in signature.inputs if spec.datatype is Datatype.BYTES]
    if texts and len(texts) == len(signature.inputs):
        raise StartError(
            Reason.NOT_EXPLAINABLE,
            f"The input {texts[0]!r} takes texts, of which no part can be left out, and there is no other kind.",
            _HINT.format(wish="tokens as whole numbers for its input, or columns beside the text"),
        )
    for spec in signature.inputs:
        if not spec.has_free_rows and spec.shape[:1] != (1,):
            raise StartError(
                Reason.NOT_EXPLAINABLE,
                f"The input {spec.name!r} has the shape {list(spec.shape)}: its first dimension is not that of rows.",
                _HINT.format(wish="a free first dimension"),
            )
    if not any(spec.datatype.is_float for spec in signature.outputs):
        raise StartError(
            Reason.NOT_EXPLAINABLE,
            "The model has no output of scores or amounts (FP32, FP64), only texts or whole numbers such as a class's.",
            _HINT.format(wish="its scores as an output"),
        )
