"""A model that can be asked: an engine, its name and version, and the threads that its requests are computed in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.failures import CodedError, OtherModelError
from headrace_tensorflow_serving.signature import Array, Signature, TensorSpec
from headrace_tensorflow_serving.tensors import has_nonfinite

log = logging.getLogger("headrace_tensorflow_serving")


_CLIENTS_FAULT = frozenset({Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE, Code.NOT_FOUND})
# They say nothing of the model, nor of what is asked.
_OF_THE_MOMENT = frozenset(
    {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.ABORTED}
)


class Engine(Protocol):
    """What engine.Engine is; a Protocol, because importing that takes seconds."""

    signatures: Mapping[str, Signature]
    signature_defs: Mapping[str, Any]

    def run(
        self,
        signature: Signature,
        feed: Mapping[str, Array],
        outputs: Sequence[TensorSpec],
        deadline: float | None = ...,
    ) -> list[Array]: ...


@dataclass(frozen=True)
class Run:
    """The values of the outputs asked for, in their order, and how long the model took."""

    outputs: list[Array]
    seconds: float
    is_finite: bool


@dataclass(frozen=True)
class Answer:
    """An answer's body and what is told about it."""

    body: bytes
    run: Run


class Model:
    """`name` and `version` are what clients ask for; `executor` bounds how many requests are computed at a time.

    `answered` are the signatures that have given an answer: what none of the others can compute is no request's fault.
    """

    def __init__(self, engine: Engine, name: str, version: int, executor: Executor, answered: frozenset[str]) -> None:
        self._engine = engine
        self._executor = executor
        self._answered = answered
        self.name = name
        self.version = version

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._engine.signatures

    @property
    def signature_defs(self) -> Mapping[str, Any]:
        return self._engine.signature_defs

    def require(self, name: str, version: int | None) -> None:
        """Raises OtherModelError or CodedError(NOT_FOUND) where something else is asked for."""
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        message = f"Servable not found for request: {wanted}"
        if name != self.name:
            raise OtherModelError(message)
        if version not in (None, self.version):
            raise CodedError(Code.NOT_FOUND, message)

    def run(
        self, signature: Signature, feed: Mapping[str, Array], outputs: Sequence[TensorSpec], deadline: float | None
    ) -> Run:
        """Call it in `answered`, off the event loop. Raises CodedError."""
        started = perf_counter()
        try:
            values = self._engine.run(signature, feed, outputs, deadline)
        except CodedError as error:
            judged = self._judged(signature, error)
            if judged.status == 500:
                log.error("the model fails: %s: %s", error.code, error.message)
            raise judged from error
        seconds = perf_counter() - started
        if signature.name not in self._answered:
            self._answered |= {signature.name}
        return Run(values, seconds, is_finite=not any(map(has_nonfinite, outputs, values)))

    def _judged(self, signature: Signature, error: CodedError) -> CodedError:
        """The error, which is the model's where it says that it is the client's and no client ever had an answer."""
        is_clients = error.code in _CLIENTS_FAULT and signature.name in self._answered
        if error.code in _OF_THE_MOMENT or error.status == 500 or is_clients:
            return error
        return CodedError(Code.INTERNAL, f"the model fails: {error.message}")

    async def answered(self, work: Callable[[], Answer]) -> Answer:
        """What `work` gives, done in one of the threads. Cancelled while it waits, it is not done at all."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
