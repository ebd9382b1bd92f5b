"""Runs scripts one after another in one process, as `headrace_trainer.adapters.keras` runs one, and exports after each.

TensorFlow takes seconds to load: a process a script would be minutes. Then each model is loaded and asked by the
server that would serve it. Usage: export_many.py DIRECTORY SCRIPT...; what came of each is in
DIRECTORY/NAME/result.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import sys
import traceback
from pathlib import Path

import keras
from kept_messages import Kept

from headrace_onnxruntime import engine as onnx_engine
from headrace_onnxruntime import warmup as onnx_warmup
from headrace_tensorflow_serving import engine as tensorflow_engine
from headrace_tensorflow_serving import warmup as tensorflow_warmup
from headrace_trainer.adapters import script
from headrace_trainer.adapters.keras import hooks as keras_hooks
from headrace_trainer.adapters.keras.export import export as keras_export
from headrace_trainer.adapters.keras.models import follow
from headrace_trainer.adapters.models import Models
from headrace_trainer.adapters.script_files import ScriptFiles
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.settings import Settings
from headrace_trainer.adapters.stopping import Stop


def main(directory: Path, scripts: list[Path]) -> None:
    gc.freeze()  # as the adapter does after the import of Keras
    messages = Kept()
    settings = Settings.from_environment({"HEADRACE_FORMATS": "TensorFlow,ONNX", "HEADRACE_SEED": "5"})
    files = ScriptFiles(directory, (), None, lambda message: None)
    session = Session(settings, messages, Stop(lambda: None, seconds=15.0), None, None, files)
    keras_hooks.install(session)
    for path in scripts:
        out = directory / path.stem
        out.mkdir()
        messages.kept.clear()
        session.models, session.custom_iterations, session.batch_steps = Models(), [], 0
        follow.prepare(session)
        session.settings = dataclasses.replace(settings, export_directory=out / "model")
        keras.backend.clear_session()
        keras.config.set_dtype_policy("float32")
        with (out / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            result = run(session, path, out / "model")
        (out / "result.json").write_text(json.dumps(result))
        print(path.stem, json.dumps(result), flush=True)


def run(session: Session, path: Path, model: Path) -> dict:
    ending = script.run(str(path), [], contextlib.nullcontext())
    if ending.exception is not None:
        return {"raised": "".join(traceback.format_exception(ending.exception))}
    keras_export.export(session, ending.main, model)
    sent = session.messages.kept
    exported = next((message for message in sent if message["type"] == "exported"), {"formats": [], "remark": ""})
    return {
        "formats": [str(name) for name in exported["formats"]],
        "remark": exported["remark"],
        "failed": {message["format"]: message["message"] for message in sent if message["type"] == "exportFailed"},
        "signature": json.loads((model / "signature.json").read_text()) if exported["formats"] else None,
        "served": {str(name): SERVERS[name](model) for name in exported["formats"]},
    }


def served_by_tensorflow(model: Path) -> dict:
    engine = tensorflow_engine.load(model / "tensorflow", tensorflow_engine.Threads(1, 1))
    tensorflow_warmup.warm_up(engine)
    signature = engine.signatures["serving_default"]
    return {spec.name: str(spec.dtype) for spec in (*signature.inputs, *signature.outputs)}


def served_by_onnxruntime(model: Path) -> dict:
    engine = onnx_engine.load(model, 1)
    if onnx_warmup.warm_up(engine).known_good is None:
        raise RuntimeError("the server's warm-up found no input that the model answers")
    signature = engine.signature
    return {spec.name: str(spec.datatype) for spec in (*signature.inputs, *signature.outputs)}


SERVERS = {"TensorFlow": served_by_tensorflow, "ONNX": served_by_onnxruntime}

if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
