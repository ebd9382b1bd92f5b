"""Tokenizers as others have saved them."""

from __future__ import annotations

import pytest
import text_models
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from headrace_text import tokens


@pytest.fixture
def loaded(tmp_path):
    """What the loader makes of a tokenizer that is saved in a model's folder."""

    def load(tokenizer):
        (tmp_path / "text").mkdir(exist_ok=True)
        tokenizer.save(str(tmp_path / "text" / "tokenizer.json"))
        return tokens.load(tmp_path, 1000)

    return load


def test_a_prompt_is_neither_cut_nor_filled_up_as_the_tokenizers_training_had_it(loaded):
    tokenizer = text_models.tokenizer()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=12)
    found = loaded(tokenizer)

    assert [len(found.encode(text, with_special=True)) for text in ("abc", "a longer prompt")] == [3, 15]


WORDS = ("[UNK]", "a", "word", "##y", "<|answer|>")


def pieces():
    """As SentencePiece has them: the space in front of a word is a part of it."""
    made = Tokenizer(models.BPE(vocab={"▁a": 0, "▁word": 1, "y": 2}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return made


def parts():
    """As BERT has them: a mark says that a word goes on."""
    made = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    return made


def words():
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def ids(tokenizer, *wanted):
    return [tokenizer.token_to_id(word) for word in wanted]


@pytest.mark.parametrize(
    ("make", "prompt", "answer", "expected"),
    [
        (pieces, ["▁a"], ["▁word", "y", "▁a"], [" word", "y", " a"]),
        (pieces, ["▁a", "<|answer|>"], ["▁word"], [" word"]),
        (pieces, ["<|answer|>"], ["▁word", "▁a"], ["word", " a"]),
        (pieces, [], ["▁word", "▁a"], ["word", " a"]),
        (parts, ["word"], ["##y", "a"], ["y", " a"]),
        (parts, ["a"] * 20, ["word", "##y"], [" word", "y"]),
        (parts, [], ["word", "##y"], ["word", "y"]),
        (words, ["a"], ["word", "a"], [" word", " a"]),
        (words, [], ["word", "a"], ["word", " a"]),
    ],
)
def test_an_answer_goes_on_with_its_prompt_as_the_decoder_has_it(loaded, make, prompt, answer, expected):
    tokenizer = make()
    tokenizer.add_special_tokens(["<|answer|>"])
    decoding = loaded(tokenizer).decoding(ids(tokenizer, *prompt))

    assert [decoding.step(token) for token in ids(tokenizer, *answer)] == expected


def test_half_a_character_at_the_end_of_a_prompt_is_not_told_again(loaded):
    tokenizer = text_models.tokenizer()
    half = tokenizer.encode("日").ids[:1]
    assert loaded(tokenizer).decoding([*tokenizer.encode("a").ids, *half]).step(*tokenizer.encode("b").ids) == "b"


def test_halves_of_characters_that_never_end_are_told_as_decode_has_them_after_a_few(loaded):
    tokenizer = text_models.tokenizer()
    half, letter = tokenizer.encode("é").ids[0], tokenizer.encode("a").ids[0]
    decoding = loaded(tokenizer).decoding()
    pieces = [decoding.step(token) for token in [half] * 4000 + [letter]]

    assert max(map(len, pieces)) <= 9
    assert "".join(pieces) == "\ufffd" * 4000 + "a"


def test_special_tokens_in_a_row_take_no_space_from_the_word_behind_them(loaded):
    tokenizer = pieces()
    tokenizer.add_special_tokens(["<|answer|>"])
    decoding = loaded(tokenizer).decoding()
    tokens = ids(tokenizer, "▁a", *["<|answer|>"] * 20, "▁word")

    assert "".join(decoding.step(token) for token in tokens) == "a word"


def test_a_prompt_of_few_tokens_that_are_long_is_taken(loaded):
    found = loaded(words())
    assert found.may_fit("x" * 100, 4)
    assert found.encode("x" * 100, with_special=True) == [0]
    assert not found.may_fit("x" * 4000, 4)
