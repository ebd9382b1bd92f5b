"""A decoder that answers with text, and the tokenizer that it was trained with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from headrace_client import _followed
from headrace_client._wire import in_job

_CONFIG = "tokenizer_config.json"


def text(
    model: Any,
    tokenizer: str | os.PathLike[str] = "tokenizer.json",
    *,
    eos: str | None = None,
    chat_template: str | None = None,
    context: int | None = None,
) -> None:
    """Says that `model` writes text, token by token: with `Text` in spec.output.formats it is exported with its
    tokenizer. In a job of `framework: Keras` only; the weights are those of the model that becomes a version.

    `model` takes tokens (batch, length) and answers with logits, or probabilities, of the next token at each position
    (batch, length, vocabulary). `tokenizer` is a tokenizer.json, as `Tokenizer.save` of the package tokenizers or
    `save_pretrained` of a fast one writes it; it is read now. `eos` is the token that ends a text, `chat_template` a
    Jinja template as transformers has it: where they are left out, those of a tokenizer_config.json beside `tokenizer`
    count. `context` is how many tokens a text may have, where the model does not say so itself.

    Raises FileNotFoundError where there is no such file, ValueError for one that is no tokenizer and for a context
    below 2, TypeError for other arguments of a wrong type, RuntimeError in a job of another framework.
    """
    path = Path(tokenizer)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no tokenizer {path}: save it before this call, as tokenizer.save({str(path)!r}) of the package "
            "tokenizers does"
        )
    for name, value in (("eos", eos), ("chat_template", chat_template)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is a text, not a {type(value).__name__}")
    if context is not None and (isinstance(context, bool) or not isinstance(context, int)):
        raise TypeError(f"context is a number of tokens, not a {type(context).__name__}")
    if context is not None and context < 2:
        raise ValueError(f"context {context}: a text has at least 2 tokens")
    content = path.read_text(encoding="utf-8")
    if not isinstance(_object(content, path).get("model"), dict):
        raise ValueError(f"{path} is no tokenizer.json: it has no `model`")
    beside = path.with_name(_CONFIG)
    config = _object(beside.read_text(encoding="utf-8"), beside) if beside.is_file() else {}
    given = {"eos_token": eos, "chat_template": chat_template}
    config.update((name, value) for name, value in given.items() if value is not None)
    if _followed.follower is not None:
        _followed.follower.text(model, content, config, context)
    elif in_job():
        raise RuntimeError("a model is exported as text in a job of framework: Keras only, in the script's own process")


def _object(content: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no object")
    return found
