"""The graph of a decoder in ONNX Runtime: loaded, and compared with what genai_config.json says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headrace_onnxruntime.engine import cpu_session
from headrace_onnxruntime.refusals import REFUSALS
from headrace_serving.failures import MAX_ERROR_CHARACTERS, Reason, StartError
from headrace_serving.refusals import refusal
from headrace_text.folder import CONFIG_FILE, FOLDER, Config

FLOATS: Mapping[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
WHOLE: Mapping[str, Any] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_HINT = "Export graph and genai_config.json together, as onnxruntime-genai's model builder writes them."


class Session:
    """`types` and `shapes` are those of the graph's inputs, by name; a free dimension of a shape is a text, or None."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.types = {node.name: node.type for node in engine.get_inputs()}
        self.shapes = {node.name: node.shape for node in engine.get_inputs()}
        self.outputs = [node.name for node in engine.get_outputs()]

    def whole(self, name: str) -> Any:
        """NumPy's type of an input of tokens, masks or positions. Raises StartError."""
        return self._type(name, WHOLE, "INT64 or INT32")

    def floating(self, name: str) -> Any:
        """NumPy's type of an input of the cache. Raises StartError."""
        return self._type(name, FLOATS, "FP32 or FP16")

    def _type(self, name: str, known: Mapping[str, Any], words: str) -> Any:
        found = known.get(self.types[name])
        if found is None:
            message = f"The graph's input {name!r} is of type {self.types[name]}; it has to be {words}."
            raise StartError(Reason.MODEL_UNSUPPORTED, message, "Export the model for ONNX Runtime's CPU kernels.")
        return found


def load(config: Config, threads: int) -> Session:
    """The graph of `config`. Raises StartError."""
    try:
        engine = cpu_session(config.graph, threads)
    except Exception as error:
        # The path of the folder says nothing to whoever exported the model.
        text = " ".join(str(error).replace(f"{config.graph.parent.resolve()}/", "").split())
        raise refusal(REFUSALS, text) or StartError(
            Reason.MODEL_CORRUPT,
            f"{FOLDER / config.graph.name} cannot be loaded: {text[:MAX_ERROR_CHARACTERS]}",
            "Export the model again; its digest was verified, so the file is what the export wrote.",
        ) from error
    session = Session(engine)
    _compare(session, config)
    return session


def fitted(config: Config, session: Session) -> Config:
    """Without the mask and the positions that a graph may do without: configs name them for all of a kind."""

    def there(name: str | None) -> str | None:
        return name if name in session.types else None

    return replace(config, attention_mask=there(config.attention_mask), position_ids=there(config.position_ids))


def named(pattern: str, config: Config) -> list[str]:
    """The names of all layers."""
    return [pattern.replace("%d", str(layer)) for layer in range(config.layers)]


def _compare(session: Session, config: Config) -> None:
    wanted, outputs = [config.input_ids], [config.logits]
    if config.cache is not None:
        if config.layers > len(session.types):  # names are made for as many: not for billions of them
            raise StartError(
                Reason.SIGNATURE_MISMATCH,
                f"{CONFIG_FILE} has {config.layers} in num_hidden_layers; the graph has {len(session.types)} inputs, "
                "and each layer's cache is two of them.",
                _HINT,
            )
        wanted += named(config.cache.past_key, config) + named(config.cache.past_value, config)
        outputs += named(config.cache.present_key, config) + named(config.cache.present_value, config)
    _all_there("input", wanted, list(session.types))
    _all_there("output", outputs, session.outputs)
    known = {*wanted, config.attention_mask, config.position_ids}
    if others := [name for name in session.types if name not in known]:
        raise StartError(
            Reason.SIGNATURE_MISMATCH,
            f"The graph wants the input {others[0]!r}, which {CONFIG_FILE} does not name.",
            _HINT,
        )


def _all_there(kind: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if name not in there:
            some = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
            raise StartError(
                Reason.SIGNATURE_MISMATCH,
                f"{CONFIG_FILE} names the {kind} {name!r}, which the graph does not have; it has {some}.",
                _HINT,
            )
