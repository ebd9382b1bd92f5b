"""A trained model with the one signature that all formats share, and what Keras itself computes with it.

The reference is computed on rows of the training data, and on made-up rows where there are none, or where the model
takes sizes that the data did not have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from headrace_trainer.adapters import agreement
from headrace_trainer.adapters import signature as signatures
from headrace_trainer.adapters.keras.export.inputs import Inputs, inputs_of
from headrace_trainer.adapters.models import Trained
from headrace_trainer.adapters.signature import Signature, Tensor

Array = np.ndarray[Any, Any]

# For dimensions that may have any size; the servers' warm-up tries the same ones. Sizes that hide nothing come first.
SIZES_TO_TRY = (8, 32, 64, 128, 224, 256, 2, 1)
_MADE_UP_ROWS = 3


class ExportError(RuntimeError):
    """The model cannot be exported in a format."""


@dataclass(frozen=True)
class Reference:
    """What Keras computes with `inputs`. Of the `random` outputs it computes something else each time."""

    inputs: tuple[Array, ...]
    outputs: dict[str, Array]
    random: frozenset[str]

    @property
    def is_telling(self) -> bool:
        """Whether all of it is numbers: what is not a number equals itself, whatever the exported model does."""
        return all(_is_finite(values) for values in self.outputs.values())


@dataclass(frozen=True)
class Servable:
    """`serve` takes one tensor an input, in order; a request is answered without what an earlier one left."""

    model: Any
    signature: Signature
    serve: Callable[..., dict[str, Any]]
    specs: list[Any]
    tolerance: float
    rows: tuple[Array, ...] | None = None  # of the training data, one array an input
    references: tuple[Reference, ...] = ()

    @property
    def random(self) -> list[str]:
        """The outputs that only their shape is compared of, in the model's order."""
        found = {name for reference in self.references for name in reference.random}
        return [tensor.name for tensor in self.signature.outputs if tensor.name in found]

    def check(self, what: str, compute: Callable[[dict[str, Array]], dict[str, Array]]) -> None:
        """Raises ExportError unless `compute`, from inputs to outputs by name, computes what Keras computes."""
        names = [tensor.name for tensor in self.signature.inputs]
        for reference in self.references:
            computed = compute(dict(zip(names, reference.inputs, strict=True)))
            found = agreement.difference(reference.outputs, computed, self.tolerance, ignored=reference.random)
            if found is not None:
                raise ExportError(f"{what} computes other values than Keras: {found}")

    def refer(self, inputs: tuple[Array, ...], call: Callable[..., dict[str, Any]] | None = None) -> Reference:
        """Lets Keras compute, twice, by `call` in place of `serve` itself."""
        first, second = (self._compute(call or self.serve, inputs) for _ in range(2))
        return Reference(inputs, first, agreement.differing(first, second, self.tolerance))

    def _compute(self, call: Callable[..., dict[str, Any]], inputs: tuple[Array, ...]) -> dict[str, Array]:
        tensors = [tf.constant(values, tensor.dtype) for values, tensor in zip(inputs, self.specs, strict=True)]
        with _same_seeds(self.model):
            return {name: np.asarray(value) for name, value in call(*tensors).items()}


class Refer(Protocol):
    """What the exported model is to be compared with."""

    def __call__(self, made: Servable, inputs: Inputs, *, must_take_sizes: bool) -> tuple[Reference, ...]: ...


def servable(trained: Trained, refer: Refer | None = None) -> Servable:
    """The model with the most general signature that it takes. Raises what the model raises."""
    inputs = inputs_of(trained.model, trained.element_spec, trained.rows() if trained.rows else None)
    free = inputs.with_free_lengths()
    if free != inputs:
        try:
            return _with_inputs(trained.model, free, refer or _references, must_take_sizes=True)
        except (ValueError, TypeError, tf.errors.OpError):
            pass  # it takes the lengths of its data only
    return _with_inputs(trained.model, inputs, refer or _references, must_take_sizes=False)


def _with_inputs(model: Any, inputs: Inputs, refer: Refer, *, must_take_sizes: bool) -> Servable:
    outputs: list[str] = []
    keys: list[str] = []

    def call(*tensors: Any) -> list[Any]:
        with _without_state(model):
            packed = model(keras.tree.pack_sequence_as(inputs.structure, list(tensors)), training=False)
        pairs = keras.tree.flatten_with_path(packed)
        keys[:] = [path[-1] if path and isinstance(path[-1], str) else "output" for path, _ in pairs]
        return [value for _, value in pairs]

    def serve(*tensors: Any) -> dict[str, Any]:
        return dict(zip(outputs, call(*tensors), strict=True))

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in inputs.tensors]
    results = tf.function(call, input_signature=specs, autograph=False).get_concrete_function().structured_outputs
    outputs += signatures.output_names(_output_names(model, keys))
    is_free = inputs.tensors[0].shape[0] is None
    tensors = tuple(
        Tensor(name, value.dtype.name, (None, *value.shape[1:]) if is_free else tuple(value.shape))
        for name, value in zip(outputs, results, strict=True)
    )
    computed_in = {layer.compute_dtype for layer in model._flatten_layers()} | {tensor.dtype for tensor in tensors}
    tolerance = agreement.tolerance_of(computed_in)
    made = Servable(model, Signature(inputs.tensors, tensors), serve, specs, tolerance, inputs.rows)
    return replace(made, references=refer(made, inputs, must_take_sizes=must_take_sizes))


def _references(made: Servable, inputs: Inputs, *, must_take_sizes: bool) -> tuple[Reference, ...]:
    """On the rows of the data, and on made-up ones: tracing lets sizes through that a model cannot compute."""
    of_rows = None if inputs.rows is None else made.refer(inputs.rows)
    takes_sizes = any(None in tensor.shape[1:] for tensor in inputs.tensors)
    if of_rows is not None and not takes_sizes:
        return (of_rows,)
    try:
        made_up = _made_up(made, SIZES_TO_TRY if takes_sizes else SIZES_TO_TRY[:1])
    except Exception:  # whatever the script's layers raise
        if of_rows is None or must_take_sizes:
            raise
        return (of_rows,)
    return (made_up,) if of_rows is None else (of_rows, made_up)


def _made_up(made: Servable, sizes: tuple[int, ...]) -> Reference:
    """Of the first size, and of the kind of numbers, that the model answers with numbers."""
    answered: Reference | None = None
    refusal: Exception | None = None
    for size in sizes:
        for draw in (_any_number, _positive_number):
            try:
                batch = _batch(made, size, draw)
                _must_leave_something(made, batch)
                reference = made.refer(batch)
            except Exception as error:  # noqa: BLE001 - whatever the script's layers raise; raised below
                refusal = refusal or error
                break  # other numbers have the same sizes
            if reference.is_telling:
                return reference
            if all(values.size for values in reference.outputs.values()):
                answered = answered or reference
    if answered is not None:
        return answered
    raise refusal or ExportError(f"the model's outputs are empty for all sizes that were tried: {sizes}")


def _must_leave_something(made: Servable, batch: tuple[Array, ...]) -> None:
    """Raises ExportError where a layer has nothing left of rows of this size: of nothing a convolution computes, on
    some CPUs, whatever was in memory.
    """
    specs = [tf.TensorSpec(values.shape, spec.dtype) for values, spec in zip(batch, made.specs, strict=True)]
    graph = tf.function(made.serve, autograph=False).get_concrete_function(*specs).graph
    tensors = (tensor for operation in graph.get_operations() for tensor in operation.outputs)
    if any(tensor.dtype.is_floating and (tensor.shape.rank or 0) > 1 and 0 in tensor.shape for tensor in tensors):
        raise ExportError("the model has a layer that gets nothing of inputs of this size")


Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _any_number(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return random.normal(size=shape)


def _positive_number(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """For logarithms and roots."""
    return random.uniform(0.1, 1.0, size=shape)


def _batch(made: Servable, size: int, draw: Draw) -> tuple[Array, ...]:
    """Made-up rows; integers are tokens that every embedding knows."""
    random = np.random.default_rng(0)
    highest = min((layer.input_dim for layer in _embeddings(made.model)), default=2)
    batch: list[Array] = []
    for tensor in made.signature.inputs:
        rows = _MADE_UP_ROWS if tensor.shape[0] is None else tensor.shape[0]
        shape = (rows, *(size if length is None else length for length in tensor.shape[1:]))
        if tensor.dtype == "string":
            batch.append(random.choice(np.array([b"some", b"text", b"a few words"], dtype=object), size=shape))
        elif tf.as_dtype(tensor.dtype).is_floating:
            batch.append(draw(random, shape).astype(tf.as_dtype(tensor.dtype).as_numpy_dtype))
        else:
            batch.append(random.integers(0, highest, size=shape).astype(tensor.dtype))
    return tuple(batch)


@contextlib.contextmanager
def _without_state(model: Any) -> Iterator[None]:
    """A server answers many clients with many replicas: what a stateful layer keeps of one request must not reach the
    next. Each one is answered as the beginning of a sequence, as after reset_state().
    """
    stateful = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) and layer.stateful]
    for layer in stateful:
        layer.stateful = False
    try:
        yield
    finally:
        for layer in stateful:
            layer.stateful = True


@contextlib.contextmanager
def _same_seeds(model: Any) -> Iterator[None]:
    """What a layer draws from a seed of Keras' is the same in each call, and in the model that is exported."""
    states = [seeds.state for layer in model._flatten_layers() for seeds in getattr(layer, "_seed_generators", ())]
    before = [state.numpy() for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            if not np.array_equal(state.numpy(), value):
                state.assign(value)


def _output_names(model: Any, keys: list[str]) -> list[str]:
    """The names of the output layers; of a model without such, the keys of the dict that it returns."""
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(keys) and isinstance(model, keras.Sequential) and model.layers:
        names = [model.layers[-1].name]
    return names if len(names) == len(keys) else keys


def _embeddings(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]


def _is_finite(values: Array) -> bool:
    if not values.size:
        return False
    is_text = values.dtype == object
    return is_text or bool(np.all(np.isfinite(values.astype("float64"))))
