"""Exports the model that was trained last: a SavedModel, an ONNX model, and signature.json.

Both formats have one signature with named inputs of the data's own types, and any batch size (and any length where
the model takes one). A format counts as exported when its file, loaded again, computes what Keras computes on a
random batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headrace_trainer.child import signature as signatures
from headrace_trainer.child.session import Session, Trained
from headrace_trainer.child.settings import Format
from headrace_trainer.child.signature import Signature, Tensor

_TOLERANCE = 1e-4
_SAMPLES = 3
_SAMPLE_LENGTH = 7
_OPSET = 17


class ExportError(RuntimeError):
    """The model cannot be exported in a format."""


def export(session: Session, main: ModuleType, directory: Path) -> None:
    """Writes all wanted formats below `directory`, and tells the launcher about each."""
    messages = session.messages
    trained = session.trained or _model_of_custom_loop(session, main)
    messages.send("exporting")
    if trained is None:
        for name in session.settings.formats:
            messages.send("exportFailed", format=name, message="no model was trained that could be found in the script")
        return
    directory.mkdir(parents=True, exist_ok=True)
    done: list[Format] = []
    try:
        servable = _servable(trained)
        (directory / "signature.json").write_text(servable.signature.to_json(), encoding="utf-8")
    except Exception as error:  # noqa: BLE001 - the model is the user's code: whatever it raises is told, not raised again
        for name in session.settings.formats:
            messages.send("exportFailed", format=name, message=f"{type(error).__name__}: {error}")
        return
    for name in session.settings.formats:
        target = directory / name.lower()
        shutil.rmtree(target, ignore_errors=True)
        try:
            _WRITERS[name](servable, target)
        except Exception as error:  # noqa: BLE001 - as above, and the converters raise whatever they meet
            shutil.rmtree(target, ignore_errors=True)
            messages.send("exportFailed", format=name, message=f"{type(error).__name__}: {error}")
        else:
            done.append(name)
    if done:
        messages.send("exported", dir=str(directory), formats=list(done))


@dataclass(frozen=True)
class _Servable:
    """A model with the one signature that all formats share. `serve` takes one tensor an input, in order."""

    model: Any
    signature: Signature
    serve: Callable[..., dict[str, Any]]
    specs: list[Any]

    def sample(self) -> list[np.ndarray[Any, Any]]:
        """A random batch; integers are tokens that every embedding knows."""
        random = np.random.default_rng(0)
        highest = min((layer.input_dim for layer in _embeddings(self.model)), default=2)
        batch = []
        for tensor in self.signature.inputs:
            shape = (_SAMPLES, *(_SAMPLE_LENGTH if size is None else size for size in tensor.shape[1:]))
            if np.issubdtype(np.dtype(tensor.dtype), np.floating):
                batch.append(random.normal(size=shape).astype(tensor.dtype))
            else:
                batch.append(random.integers(0, highest, size=shape).astype(tensor.dtype))
        return batch

    def check(self, what: str, outputs: dict[str, np.ndarray[Any, Any]], sample: list[np.ndarray[Any, Any]]) -> None:
        """Raises ExportError unless `outputs` are what Keras computes for the sample."""
        for name, expected in self.serve(*sample).items():
            difference = float(np.max(np.abs(np.asarray(expected, "float64") - np.asarray(outputs[name], "float64"))))
            if not difference <= _TOLERANCE:
                raise ExportError(f"{what} computes other values than Keras: {name} differs by {difference:.3g}")


def _write_saved_model(servable: _Servable, target: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(servable.model)
    archive.add_endpoint("serving_default", servable.serve, input_signature=servable.specs)
    archive.write_out(str(target), verbose=False)
    sample = servable.sample()
    serving = tf.saved_model.load(str(target)).signatures["serving_default"]
    names = [tensor.name for tensor in servable.signature.inputs]
    outputs = serving(**dict(zip(names, map(tf.constant, sample), strict=True)))
    servable.check("the SavedModel", {name: value.numpy() for name, value in outputs.items()}, sample)


def _write_onnx(servable: _Servable, target: Path) -> None:
    import onnxruntime
    import tf2onnx

    from headrace_trainer.child import onnx_bytes

    function = tf.function(servable.serve, input_signature=servable.specs, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=servable.specs, opset=_OPSET)
    content = onnx_bytes.canonical(model)
    sample = servable.sample()
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = {tensor.name: value for tensor, value in zip(servable.signature.inputs, sample, strict=True)}
    names = [output.name for output in runtime.get_outputs()]
    servable.check("the ONNX model", dict(zip(names, runtime.run(names, inputs), strict=True)), sample)
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(content)


_WRITERS: dict[Format, Callable[[_Servable, Path], None]] = {
    Format.TENSORFLOW: _write_saved_model,
    Format.ONNX: _write_onnx,
}


def _servable(trained: Trained) -> _Servable:
    """The model with the most general signature that it takes."""
    inputs, structure = _inputs(trained)
    free = [_with_free_length(tensor) for tensor in inputs] if not _declares_inputs(trained.model) else inputs
    for candidate in [free, inputs] if free != inputs else [inputs]:
        try:
            return _with_inputs(trained.model, candidate, structure)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError):
            if candidate == inputs:
                raise
    raise AssertionError("the last candidate returns or raises")


def _with_inputs(model: Any, inputs: list[Tensor], structure: Any) -> _Servable:
    outputs: list[str] = []

    def call(*tensors: Any) -> list[Any]:
        return list(keras.tree.flatten(model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)))

    def serve(*tensors: Any) -> dict[str, Any]:
        return dict(zip(outputs, call(*tensors), strict=True))

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in inputs]
    results = tf.function(call, input_signature=specs, autograph=False).get_concrete_function().structured_outputs
    outputs += signatures.output_names(_output_names(model, len(results)))
    tensors = tuple(
        Tensor(name, value.dtype.name, (None, *value.shape[1:])) for name, value in zip(outputs, results, strict=True)
    )
    servable = _Servable(model, Signature(tuple(inputs), tensors), serve, specs)
    # Tracing lets some lengths through that the model then cannot compute.
    serve(*servable.sample())
    return servable


def _inputs(trained: Trained) -> tuple[list[Tensor], Any]:
    """The inputs with the types of the data (of the declaration, where the model declares one), and how the model wants
    them packed.
    """
    model = trained.model
    data = _data_of(trained.element_spec)
    if not _declares_inputs(model):
        if data is None:
            raise ExportError("the model declares no inputs: give it a keras.Input")
        paths, flat = zip(*keras.tree.flatten_with_path(data), strict=True)
        names = signatures.input_names([path[-1] if path and isinstance(path[-1], str) else "input" for path in paths])
        return [
            Tensor(name, spec.dtype.name, (None, *spec.shape[1:])) for name, spec in zip(names, flat, strict=True)
        ], data
    declared = model.inputs
    flat = keras.tree.flatten(data) if data is not None else []
    fed = flat if len(flat) == len(declared) else [None] * len(declared)
    names = signatures.input_names([tensor.name for tensor in declared])
    inputs = [
        Tensor(name, _dtype(tensor.dtype, spec), (None, *tensor.shape[1:]))
        for name, tensor, spec in zip(names, declared, fed, strict=True)
    ]
    structure = getattr(model, "_inputs_struct", None)
    return inputs, (structure if structure is not None else declared[0])


def _dtype(declared: str, fed: Any) -> str:
    """Input(...) without a dtype says float32, also where the data is token numbers."""
    return str(fed.dtype.name) if fed is not None and declared == "float32" and fed.dtype.is_integer else declared


def _data_of(element_spec: Any) -> Any:
    """x of a dataset's (x, y, weights); a worker's part of a distributed batch stands for the whole."""
    if element_spec is None:
        return None
    x = element_spec[0] if isinstance(element_spec, tuple) else element_spec
    return keras.tree.map_structure(lambda spec: getattr(spec, "_value_specs", (spec,))[0], x)


def _declares_inputs(model: Any) -> bool:
    """A functional model, or a Sequential that begins with an Input; not one shaped by its first batch."""
    if isinstance(model, keras.Sequential):
        return any(isinstance(layer, keras.layers.InputLayer) for layer in model._layers) and not _built_by_data(model)
    return bool(getattr(model, "inputs", None))


def _built_by_data(model: Any) -> bool:
    """Sequential adds an input layer of its own when the first batch builds it."""
    return bool(model._layers) and _is_generated(model._layers[0])


def _is_generated(layer: Any) -> bool:
    return isinstance(layer, keras.layers.InputLayer) and layer.batch_shape[0] is not None


def _with_free_length(tensor: Tensor) -> Tensor:
    """Token numbers without a declared length may have any."""
    is_tokens = len(tensor.shape) == 2 and np.issubdtype(np.dtype(tensor.dtype), np.integer)
    return Tensor(tensor.name, tensor.dtype, (None, None)) if is_tokens else tensor


def _output_names(model: Any, count: int) -> list[str]:
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != count and isinstance(model, keras.Sequential) and model.layers:
        names = [model.layers[-1].name]
    return names if len(names) == count else ["output"] * count


def _embeddings(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]


def _model_of_custom_loop(session: Session, main: ModuleType) -> Trained | None:
    """A training loop of the script's own names no model: the one among its globals that owns the trained variables."""
    trained = {id(variable) for variable in session.custom_variables}
    for value in list(vars(main).values()):
        if isinstance(value, keras.Model) and trained & {id(variable) for variable in value.trainable_variables}:
            return Trained(value, None)
    return None
