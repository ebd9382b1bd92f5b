"""The only room that talks to `tokenizers`: text becomes tokens, and tokens become text, whole characters only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from headrace_serving.failures import Reason, StartError
from headrace_text.folder import FOLDER

FILE = FOLDER / "tokenizer.json"
# How often longer than its longest tokens a text may be.
_ROOM = 16
# Tokens of a prompt that say how its answer goes on: more than a character has.
_BEFORE = 8
# More tokens than a character has bytes: who has so many is no character.
_MOST_HELD = 8
_NO_CHARACTER = "\ufffd"


class Tokens:
    """May be used from any thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        self._longest = max(map(len, tokenizer.get_vocab(with_added_tokens=True)), default=1)

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, with_special: bool) -> list[int]:
        """`with_special`: with what the tokenizer puts around a text, such as a token of its begin."""
        return list(self._tokenizer.encode(text, add_special_tokens=with_special).ids)

    def may_fit(self, text: str, tokens: int) -> bool:
        """False: the text has far more than so many tokens, and need not be taken apart to know that. A tokenizer may
        leave spaces out, and have one token for a word that it does not know, however long.
        """
        return len(text) <= _ROOM * self._longest * tokens

    def decoding(self, before: Sequence[int] = ()) -> Decoding:
        """Of an answer that goes on where the tokens `before` end; without any it is a text of its own."""
        return Decoding(self._tokenizer, self._special, before)


class Decoding:
    """The text of one answer, token by token. A character whose bytes are not all there is held back."""

    def __init__(self, tokenizer: Tokenizer, special: frozenset[int], before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._special = special
        self._stream = self._behind(before)
        self._held: list[int] = []

    def step(self, token: int) -> str:
        """The text that `token` adds; empty where its character is not complete, or it is a special token."""
        if token in self._special:
            return ""
        self._held.append(token)
        try:
            text = self._stream.step(self._tokenizer, token) or ""
        except Exception:  # noqa: BLE001 - it has no class of its own: the text changed in front of what was told already
            return self._anew()
        if text:
            self._held.clear()
        elif len(self._held) > _MOST_HELD:  # the stream looks at all that it holds again for each
            return self._anew()
        return text

    def _anew(self) -> str:
        """What is held, as it is, and a stream that goes on behind it."""
        held, self._held = self._held, []
        self._stream = self._behind(held)
        return self._text(held)

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
