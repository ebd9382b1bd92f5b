"""headrace_client.text in a script that Keras is followed in: which model writes text, and by which tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters.keras.models.choose import described
from headrace_trainer.adapters.models import Trained
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.streams import say

HOW = 'headrace_client.text(model, "tokenizer.json")'


@dataclass(frozen=True)
class NamedText:
    """`tokenizer` is the content of tokenizer.json, `config` that of tokenizer_config.json; `context` is in tokens,
    None where the script has left it to the model. `trained` gives the model with its data.
    """

    model: Any
    tokenizer: str
    config: Mapping[str, Any]
    context: int | None
    trained: Callable[[], Trained]


def name_text(session: Session, model: object, tokenizer: str, config: Mapping[str, Any], context: int | None) -> None:
    """The last call counts. Raises TypeError for what is no Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"a {type(model).__name__} is no Keras model: {HOW}")
    formats = session.settings.formats
    if formats and Format.TEXT not in formats:
        say(f"headrace: {HOW} does nothing: output.formats has no Text, but {', '.join(formats)}")
    session.text = NamedText(model, tokenizer, config, context, lambda: described(session.models, model))
