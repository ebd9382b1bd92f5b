"""From logits to the text that a client may see: drawing, whole characters, texts to stop at."""

from __future__ import annotations

import numpy as np
import pytest
import text_models
from hypothesis import given
from hypothesis import strategies as st

from headrace_text.sampling import Sampler, Sampling
from headrace_text.stops import Stops
from headrace_text.tokens import Tokens

TOKENS = Tokens(text_models.tokenizer())


def shares(logits, **how):
    """How often each token is drawn, of 4,000."""
    sampler = Sampler(Sampling(**{"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1, **how}))
    drawn = [sampler.pick(np.array(logits, np.float32)) for _ in range(4000)]
    return np.bincount(drawn, minlength=len(logits)) / 4000


LOGITS = np.log([0.5, 0.3, 0.15, 0.05])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, [0.685, 0.247, 0.062, 0.007]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.7}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.4}, [1, 0, 0, 0]),
        ({"top_p": 0.0}, [1, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.6}, [0.625, 0.375, 0, 0]),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_are_likely(how, expected):
    assert shares(LOGITS, **how) == pytest.approx(expected, abs=0.03)


def test_a_nucleus_of_more_tokens_than_are_sorted_at_first_is_whole():
    even = Sampler(Sampling(temperature=1.0, top_k=0, top_p=0.999, seed=1))
    drawn = {even.pick(np.zeros(3000, np.float32)) for _ in range(9000)}
    assert max(drawn) > 2900
    assert len(drawn) > 2500


@given(st.text(max_size=40))
def test_the_pieces_of_a_text_are_whole_characters_and_together_the_text(text):
    decoding = TOKENS.decoding()
    pieces = [decoding.step(token) for token in TOKENS.encode(text, with_special=False)]
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
        assert "".join(pieces) == text


def test_a_character_has_no_half_in_any_piece():
    decoding = TOKENS.decoding()
    pieces = [decoding.step(token) for token in TOKENS.encode("a日é", with_special=False)]
    assert pieces == ["a", "", "", "日", "", "é"]


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_an_answer_ends_before_the_first_stop_text_however_it_comes_in_pieces(text, stops, data):
    places = [text.find(stop) for stop in stops if stop in text]
    expected = text[: min(places)] if places else text
    looked, sent, is_stopped, rest = Stops(stops), "", False, text
    while rest and not is_stopped:
        size = data.draw(st.integers(1, 1 if stops else len(rest)))
        piece, is_stopped = looked.push(rest[:size])
        sent, rest = sent + piece, rest[size:]
    if not is_stopped:
        sent += looked.rest()

    assert is_stopped == bool(places)
    if len(set(map(len, stops))) <= 1:
        assert sent == expected
    else:  # of two that overlap, the one that is complete first ends the text
        assert text.startswith(sent)
        assert not any(stop in sent for stop in stops)
