"""The files beside the graph, as onnxruntime-genai has them, so that whatever reads its folders reads ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace_trainer.adapters.keras.export.text import cached
from headrace_trainer.adapters.keras.export.text.layers import Found
from headrace_trainer.adapters.keras.export.text.named import NamedText
from headrace_trainer.adapters.keras.export.text.tokenizer import Tokens

CONFIG = "genai_config.json"
# One that onnxruntime-genai knows: where inputs and outputs are named, it decides nothing else.
_TYPE = "llama"


def write(
    folder: Path, named: NamedText, tokens: Tokens, *, vocabulary: int, context: int, found: Found | None
) -> None:
    """`found` is None for a graph without a cache; `context` is in tokens."""
    layers = found.attention if found is not None else ()
    inputs, outputs = {"input_ids": cached.IDS}, {"logits": cached.LOGITS}
    decoder: dict[str, Any] = {"filename": "model.onnx", "num_hidden_layers": len(layers)}
    if found is not None:
        first = layers[0]
        decoder |= {
            "head_size": first.size,
            "hidden_size": first.heads * first.size,
            "num_attention_heads": first.heads,
            "num_key_value_heads": first.key_heads,
        }
        inputs["attention_mask"] = cached.MASK
        if found.positions is not None:
            inputs["position_ids"] = cached.POSITIONS
        inputs |= {"past_key_names": cached.PAST_KEY, "past_value_names": cached.PAST_VALUE}
        outputs |= {"present_key_names": cached.PRESENT_KEY, "present_value_names": cached.PRESENT_VALUE}
    model = {
        "type": _TYPE,
        **{f"{name}_id": number for name, number in sorted(tokens.special.items())},
        "context_length": context,
        "vocab_size": vocabulary,
        "decoder": {**decoder, "inputs": inputs, "outputs": outputs},
    }
    search = {"do_sample": False, "max_length": context, "past_present_share_buffer": found is not None}
    _write(folder / CONFIG, {"model": model, "search": search})
    _write(folder / "tokenizer_config.json", dict(named.config))
    (folder / "tokenizer.json").write_text(named.tokenizer, encoding="utf-8")


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
