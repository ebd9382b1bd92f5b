"""The only room that talks to `tokenizers`: text becomes tokens, and tokens become text, whole characters only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from headrace_serving.failures import Reason, StartError
from headrace_text.folder import FOLDER

FILE = FOLDER / "tokenizer.json"
# Tokens of a prompt that say how its answer goes on: more than a character has.
_BEFORE = 8
_NO_CHARACTER = "\ufffd"


class Tokens:
    """May be used from any thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._longest = max(map(len, tokenizer.get_vocab(with_added_tokens=True)), default=1)

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, with_special: bool) -> list[int]:
        """`with_special`: with what the tokenizer puts around a text, such as a token of its begin."""
        return list(self._tokenizer.encode(text, add_special_tokens=with_special).ids)

    def may_fit(self, text: str, tokens: int) -> bool:
        """False: the text has more than so many tokens for sure, and need not be taken apart to know that."""
        return len(text) <= self._longest * tokens

    def decoding(self, before: Sequence[int] = ()) -> Decoding:
        """Of an answer that goes on where the tokens `before` end; without any it is a text of its own."""
        return Decoding(self._tokenizer, before)


class Decoding:
    """The text of one answer, token by token. A character whose bytes are not all there is held back."""

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._stream = self._behind(before)

    def step(self, token: int) -> str:
        """The text that `token` adds; empty where its character is not complete, or it is a special token."""
        try:
            return self._stream.step(self._tokenizer, token) or ""
        except Exception:  # noqa: BLE001 - it has no class of its own: the text changed in front of what was told already
            self._stream = self._behind([])
            return self._text([token])

    def _behind(self, before: Sequence[int]) -> DecodeStream:
        """Many a decoder writes the first word of a text otherwise: without its space, or with the mark of a part.
        A text that ends in half a character cannot be gone on with: the stream would tell its end again.
        """
        tail = list(before[-_BEFORE:])
        text = self._text(tail)
        return DecodeStream(tail if text and not text.endswith(_NO_CHARACTER) else [], skip_special_tokens=True)

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def load(model_dir: Path, vocabulary: int) -> Tokens:
    """The tokenizer of the model in `model_dir`, whose graph has so many tokens. Raises StartError."""
    path = model_dir / FILE
    if not path.is_file():
        raise StartError(
            Reason.MODEL_INCOMPLETE,
            f"There is no {FILE} in {model_dir}.",
            "Put the tokenizer beside the graph, as `tokenizer.save('tokenizer.json')` of the package tokenizers, or "
            "`save_pretrained` of a fast tokenizer, writes it.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
        # What a training had set for its own batches: a prompt is neither cut nor filled up without a word.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokens = Tokens(tokenizer)
    except Exception as error:
        raise StartError(
            Reason.MODEL_CORRUPT,
            f"{FILE} is no tokenizer: {' '.join(str(error).split())}.",
            "Save it again with the package tokenizers.",
        ) from error
    if tokens.vocabulary > vocabulary:
        raise StartError(
            Reason.SIGNATURE_MISMATCH,
            f"{FILE} has {tokens.vocabulary} tokens, and the model knows {vocabulary} (vocab_size).",
            "Put the tokenizer there that the model was trained with.",
        )
    return tokens
