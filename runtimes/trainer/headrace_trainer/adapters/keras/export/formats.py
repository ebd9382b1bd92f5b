"""A model in one format, which counts when its file computes what Keras does."""

from __future__ import annotations

import contextlib
import gc
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters.keras.export.inputs import NoInputs
from headrace_trainer.adapters.keras.export.servable import Array, ExportError, Servable
from headrace_trainer.adapters.keras.export.text.named import NamedText
from headrace_trainer.adapters.keras.state.variables import inner

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def write(made: Servable, name: Format, target: Path, text: NamedText | None = None) -> str:
    """One format, which counts when its file computes what Keras does. Where it raises, nothing is left of it. `text`
    is what the script has said of a model that writes text. The result is what is to be known of the format, mostly
    nothing.
    """
    shutil.rmtree(target, ignore_errors=True)
    try:
        if name is Format.TEXT:
            return _write_text(made, text, target)
        _WRITERS[name](made, target)
        return ""
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    finally:
        gc.collect()  # what was loaded again is full of cycles, and the next format needs its memory


def told(error: Exception) -> str:
    """What a user reads of an error: in one line, without the colours and the list of arguments that Keras adds."""
    text = " ".join(_COLOUR.sub("", str(error)).split("Arguments received by")[0].split())
    return text if isinstance(error, ExportError | NoInputs) else f"{type(error).__name__}: {text}"


def _write_saved_model(made: Servable, target: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(made.model)
    _as_tensorflow_has_them(archive)
    archive.add_endpoint("serving_default", made.serve, input_signature=made.specs)
    archive.write_out(str(target), verbose=False)
    serving = tf.saved_model.load(str(target)).signatures["serving_default"]
    dtypes = {spec.name: spec.dtype for spec in made.specs}

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        outputs = serving(**{name: tf.constant(values, dtypes[name]) for name, values in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    made.check("the SavedModel", compute)


def _as_tensorflow_has_them(archive: Any) -> None:
    """Keras hands its own variables over, whose values are TensorFlow's, which the endpoint uses: each weight would be
    in the file twice.
    """
    tracked = archive._tf_trackable
    for name in ("variables", "trainable_variables", "non_trainable_variables"):
        variables = getattr(tracked, name)
        setattr(tracked, name, [inner(one) for one in variables])


def _write_onnx(made: Servable, target: Path) -> None:
    from headrace_trainer.adapters.keras.export import onnx as keras_onnx

    keras_onnx.write(made, target)


def _write_text(made: Servable, text: NamedText | None, target: Path) -> str:
    from headrace_trainer.adapters.keras.export.text import write as text_format

    return text_format.write(made, text, target)


def _write_keras(made: Servable, target: Path) -> None:
    from headrace_trainer.adapters.keras.export import file as keras_file

    target.mkdir(parents=True)
    keras_file.write(made.model, target / "model.keras")


_WRITERS: dict[Format, Callable[[Servable, Path], None]] = {
    Format.TENSORFLOW: _write_saved_model,
    Format.ONNX: _write_onnx,
    Format.KERAS: _write_keras,
}


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """For the check. A GPU may round the factors of float32 products to 10 bits (TF32), ONNX Runtime on a CPU does not:
    compared is what the model says, not what a chip makes of it.
    """
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
