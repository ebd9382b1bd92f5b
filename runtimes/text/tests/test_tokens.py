"""Tokenizers as others have saved them."""

from __future__ import annotations

import pytest
import text_models

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
