"""Runs decoders.py for each case in one process, exports Text, and writes on with each: by Keras' own loop, and by the
graph, stepped by hand in ONNX Runtime.

Usage: text_many.py DIRECTORY SCRIPT CASE...; what came of each is in DIRECTORY/CASE/result.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import sys
import traceback
from pathlib import Path

import keras
import numpy as np
from kept_messages import Kept

import headrace_client._followed
from headrace_trainer.adapters import script
from headrace_trainer.adapters.keras import hooks as keras_hooks
from headrace_trainer.adapters.keras.client import Answers
from headrace_trainer.adapters.keras.export import export as keras_export
from headrace_trainer.adapters.keras.export import onnx_weights
from headrace_trainer.adapters.keras.models import follow
from headrace_trainer.adapters.models import Models
from headrace_trainer.adapters.script_files import ScriptFiles
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.settings import Settings
from headrace_trainer.adapters.stopping import Stop

PROMPTS = [[7, 3, 9, 12, 30], [5, 22]]
NEW = 8


def main(directory: Path, path: Path, cases: list[str]) -> None:
    gc.freeze()
    messages = Kept()
    settings = Settings.from_environment({"HEADRACE_FORMATS": "Text", "HEADRACE_SEED": "5"})
    session = Session(settings, messages, Stop(lambda: None, seconds=15.0), None, None, files(directory))
    keras_hooks.install(session)
    headrace_client._followed.follower = Answers(session)
    large = onnx_weights.LARGE_MODEL, onnx_weights.LARGE_WEIGHT
    for case in cases:
        out = directory / case
        out.mkdir()
        os.chdir(out)
        messages.kept.clear()
        session.models, session.custom_iterations, session.batch_steps, session.text = Models(), [], 0, None
        follow.prepare(session)
        session.settings = dataclasses.replace(settings, export_directory=out / "model")
        # As of a large model: the weights lie in a file beside the graph.
        onnx_weights.LARGE_MODEL, onnx_weights.LARGE_WEIGHT = (1, 1) if case == "weights_beside" else large
        keras.backend.clear_session()
        with (out / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            result = run(session, path, case, out / "model")
        (out / "result.json").write_text(json.dumps(result))
        print(case, json.dumps(result), flush=True)


def files(directory: Path) -> ScriptFiles:
    return ScriptFiles(directory, (), None, lambda message: None)


def run(session: Session, path: Path, case: str, folder: Path) -> dict:
    ending = script.run(str(path), [f"--case={case}"], contextlib.nullcontext())
    if ending.exception is not None:
        return {"raised": "".join(traceback.format_exception(ending.exception))}
    keras_export.export(session, ending.main, folder)
    sent = session.messages.kept
    made = [name for message in sent if message["type"] == "exported" for name in message["formats"]]
    result = {
        "formats": [str(name) for name in made],
        "failed": {message["format"]: message["message"] for message in sent if message["type"] == "exportFailed"},
        "warnings": {message["subject"]: message["message"] for message in sent if message["type"] == "warning"},
    }
    if made:
        keras_tokens = [by_keras(ending.main.model, prompt) for prompt in PROMPTS]
        result |= {
            "keras": keras_tokens,
            "graph": by_graph(folder / "text"),
            "files": sorted(os.listdir(folder / "text")),
        }
        result["config"] = json.loads((folder / "text" / "genai_config.json").read_text())
        result["tokenizer"] = json.loads((folder / "text" / "tokenizer_config.json").read_text())
    return result


def by_keras(model: keras.Model, prompt: list[int]) -> list[int]:
    """Greedy: the whole text again for each token."""
    tokens = list(prompt)
    length = model.inputs[0].shape[1] if getattr(model, "inputs", None) else None
    for _ in range(NEW):
        filled = tokens + [0] * ((length or 0) - len(tokens))
        tokens.append(int(np.argmax(np.asarray(model(np.array([filled], "int32")))[0, len(tokens) - 1])))
    return tokens


def by_graph(folder: Path) -> list[list[int]]:
    """All prompts in one batch, where there is a cache; the names are the config's."""
    import onnxruntime

    config = json.loads((folder / "genai_config.json").read_text())["model"]
    inputs, outputs = config["decoder"]["inputs"], config["decoder"]["outputs"]
    engine = onnxruntime.InferenceSession(
        str(folder / config["decoder"]["filename"]), providers=["CPUExecutionProvider"]
    )
    if "past_key_names" not in inputs:
        return [whole(engine, inputs["input_ids"], outputs["logits"], prompt) for prompt in PROMPTS]
    layers, context = config["decoder"]["num_hidden_layers"], config["context_length"]
    shape = (len(PROMPTS), config["decoder"]["num_key_value_heads"], context, config["decoder"]["head_size"])
    pasts = [inputs[name] % n for n in range(layers) for name in ("past_key_names", "past_value_names")]
    presents = [outputs[name] % n for n in range(layers) for name in ("present_key_names", "present_value_names")]
    cache = {name: np.zeros(shape, "float32") for name in pasts}
    texts = [list(prompt) for prompt in PROMPTS]
    longest = max(map(len, texts))
    ids = np.array([text + [0] * (longest - len(text)) for text in texts])
    places = np.tile(np.arange(longest), (len(texts), 1))
    last = np.array([len(text) - 1 for text in texts])
    for _ in range(NEW):
        lengths = np.array([len(text) for text in texts])
        feed = {
            inputs["input_ids"]: ids,
            inputs["attention_mask"]: (np.arange(lengths.max())[None] < lengths[:, None]).astype("int64"),
            **({inputs["position_ids"]: places} if "position_ids" in inputs else {}),
            **cache,
        }
        logits, *present = engine.run([outputs["logits"], *presents], feed)
        cache = dict(zip(pasts, present, strict=True))
        for row, text in enumerate(texts):
            text.append(int(np.argmax(logits[row, last[row]])))
        ids, places = np.array([[text[-1]] for text in texts]), np.array([[len(text) - 1] for text in texts])
        last = np.zeros(len(texts), int)
    return texts


def whole(engine, ids: str, logits: str, prompt: list[int]) -> list[int]:
    tokens = list(prompt)
    length = engine.get_inputs()[0].shape[1]
    for _ in range(NEW):
        filled = tokens + [0] * (length - len(tokens) if isinstance(length, int) else 0)
        [answer] = engine.run([logits], {ids: np.array([filled])})
        tokens.append(int(np.argmax(answer[0, len(tokens) - 1])))
    return tokens


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
