"""Exports the model that was trained last: a SavedModel, an ONNX model, and signature.json.

Both formats have one signature with named inputs of the data's own types, and any batch size (and any length where
the model takes one) unless the script has fixed it. A format counts as exported when its file, loaded again, computes
what Keras computes. One that cannot be made does not keep the others back: the launcher is told why.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import keras
import tensorflow as tf

from headrace_trainer.child.keras_inputs import NoInputs
from headrace_trainer.child.keras_servable import Array, ExportError, Servable, servable
from headrace_trainer.child.session import Session, Trained
from headrace_trainer.child.settings import Format

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RANDOM = (
    "not compared with Keras: the model itself computes other values in each call (it draws random numbers, or keeps "
    "something between calls)"
)


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
    with _full_precision():
        try:
            made = servable(trained)
            (directory / "signature.json").write_text(made.signature.to_json(), encoding="utf-8")
        except Exception as error:  # noqa: BLE001 - the model is the user's code: whatever it raises is told, not raised again
            for name in session.settings.formats:
                messages.send("exportFailed", format=name, message=_told(error))
            return
        for name in session.settings.formats:
            target = directory / name.lower()
            shutil.rmtree(target, ignore_errors=True)
            try:
                _WRITERS[name](made, target)
            except Exception as error:  # noqa: BLE001 - as above, and the converters raise whatever they meet
                shutil.rmtree(target, ignore_errors=True)
                messages.send("exportFailed", format=name, message=_told(error))
            else:
                done.append(name)
    if done:
        messages.send("exported", dir=str(directory), formats=list(done), remark=_RANDOM if made.is_random else "")


def _told(error: Exception) -> str:
    """In one line, without the colours and the list of arguments that Keras adds."""
    text = " ".join(_COLOUR.sub("", str(error)).split("Arguments received by")[0].split())
    return text if isinstance(error, ExportError | NoInputs) else f"{type(error).__name__}: {text}"


def _write_saved_model(made: Servable, target: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(made.model)
    archive.add_endpoint("serving_default", made.serve, input_signature=made.specs)
    archive.write_out(str(target), verbose=False)
    serving = tf.saved_model.load(str(target)).signatures["serving_default"]
    dtypes = {spec.name: spec.dtype for spec in made.specs}

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        outputs = serving(**{name: tf.constant(values, dtypes[name]) for name, values in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    made.check("the SavedModel", compute)


def _write_onnx(made: Servable, target: Path) -> None:
    from headrace_trainer.child import keras_onnx

    content = keras_onnx.convert(made)
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(content)


_WRITERS: dict[Format, Callable[[Servable, Path], None]] = {
    Format.TENSORFLOW: _write_saved_model,
    Format.ONNX: _write_onnx,
}


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """A GPU may round the factors of float32 products to 10 bits (TF32), ONNX Runtime on a CPU does not: the check
    compares what the model says, not what a chip makes of it.
    """
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def _model_of_custom_loop(session: Session, main: ModuleType) -> Trained | None:
    """A training loop of the script's own names no model: the one among its globals that owns the trained variables."""
    trained = {id(variable) for variable in session.custom_variables}
    for value in list(vars(main).values()):
        if isinstance(value, keras.Model) and trained & {id(variable) for variable in value.trainable_variables}:
            return Trained(value, None)
    return None
