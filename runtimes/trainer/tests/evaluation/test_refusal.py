"""What a library says of a row is told without what it quotes, however it quotes."""

from __future__ import annotations

import pytest

from headrace_trainer.evaluation.refusal import words_of

SECRET = "jane.doe@example.org"


@pytest.mark.parametrize(
    "text",
    [
        f"Can't convert '{SECRET}' to a number",
        f"could not convert string to float: {f'O{chr(39)}Neil {chr(34)}x{chr(34)} {SECRET}'!r}",
        f"no such value: 'O'Neil, {SECRET}'",
        f"no such value: {SECRET.encode()!r}",
        f"the row begins with '{SECRET}",
        f'the row begins with "{SECRET}',
        f"not in the table: `{SECRET}`",
        "idx=4915112345678 must be within [-50,49] jane.doe".replace("jane.doe", ""),
    ],
)
def test_no_value_is_in_it(text):
    words = words_of(ValueError(text))
    assert SECRET not in words
    assert "4915112345678" not in words
    assert words.startswith("ValueError: ")
    assert len(words) > len("ValueError: ...")


def test_what_is_not_quoted_stays():
    assert words_of(ValueError("it isn't a table, it's a list of 300")) == (
        "ValueError: it isn't a table, it's a list of 300"
    )
