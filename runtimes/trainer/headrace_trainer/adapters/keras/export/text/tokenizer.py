"""What a tokenizer.json says of its tokens, read as the JSON that it is: the package tokenizers is not in the image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_trainer.adapters.keras.export.servable import ExportError

_ENDS = ("eos_token", "bos_token", "pad_token")


@dataclass(frozen=True)
class Tokens:
    """The ids of the special tokens, by their names in tokenizer_config.json, where there are such; `size` is one more
    than the highest id of all.
    """

    size: int
    special: Mapping[str, int]


def tokens_of(tokenizer: str, config: Mapping[str, Any], vocabulary: int) -> Tokens:
    """Of a model with so many tokens. Raises ExportError where the tokenizer has more, or does not know a special
    token.
    """
    ids = _ids(json.loads(tokenizer))
    size = max(ids.values(), default=-1) + 1
    if not size:
        raise ExportError("its tokenizer.json has no tokens in `model.vocab`")
    if size > vocabulary:
        raise ExportError(
            f"its tokenizer has {size} tokens, and the model knows {vocabulary}: name the tokenizer that it was "
            "trained with, or make the model's vocabulary as large"
        )
    special = {}
    for name in _ENDS:
        token = _content(config.get(name))
        if token is None:
            continue
        if token not in ids:
            raise ExportError(
                f"{name} is {token!r}, which is no token of its tokenizer.json: add it as a special token"
            )
        special[name] = ids[token]
    return Tokens(size, special)


def _content(token: Any) -> str | None:
    """A special token is a text, or an object with one."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) and found else None


def _ids(content: Mapping[str, Any]) -> dict[str, int]:
    """Of BPE, WordPiece and WordLevel, whose vocabulary has them, and of Unigram, which lists its tokens."""
    vocabulary = content.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    return {**vocabulary, **added}
