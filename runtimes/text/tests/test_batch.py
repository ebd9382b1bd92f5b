"""Texts that join and leave at every step are each what they would be alone."""

from __future__ import annotations

import numpy as np
import pytest
import text_models

from headrace_text.batch import Batch
from headrace_text.decoder import DecoderError
from headrace_text.generation import End, Generation
from headrace_text.sampling import Sampler, Sampling
from headrace_text.stops import Stops
from headrace_text.tokens import Tokens

NONE = frozenset()
GREEDY = Sampling(temperature=0, top_k=0, top_p=1, seed=None)
TOKENS = Tokens(text_models.tokenizer())


def generation(prompt, most, sampling=GREEDY):
    return Generation(prompt, most, Sampler(sampling), TOKENS.decoding(), Stops(()), lambda _news: None)


def answer_of(one):
    return one.tokens[one.prompt_tokens :]


def alone(decoder, prompt, most, sampling=GREEDY):
    one = generation(prompt, most, sampling)
    batch = Batch(decoder, NONE, 64)
    batch.join(one)
    while batch.size:
        batch.advance()
    return answer_of(one)


def drawn(number):
    """A request by its number: prompts of 1 to 60 tokens, answers of 1 to 30, half of them sampled."""
    random = np.random.default_rng(number)
    prompt = [int(token) for token in random.integers(0, 256, random.integers(1, 60))]
    sampling = GREEDY if number % 2 else Sampling(temperature=1.0, top_k=0, top_p=0.95, seed=number)
    return prompt, int(random.integers(1, 30)), sampling


@pytest.mark.parametrize("model", ["cached_model", "uncached_model"])
@pytest.mark.parametrize("piece", [3, 16, 64])
def test_requests_that_join_and_leave_at_every_step_are_each_what_they_are_alone(model, piece, decoder_of, request):
    decoder = decoder_of(request.getfixturevalue(model), 5)
    expected = [alone(decoder, *drawn(number)) for number in range(40)]
    batch = Batch(decoder, NONE, piece)
    made = [generation(*drawn(number)) for number in range(40)]
    to_come = list(made)
    gone = made[3::7]
    steps = 0
    while to_come or batch.size:
        steps += 1
        if to_come and batch.has_place:
            batch.join(to_come.pop(0))
        for one in gone:
            one.is_cancelled |= steps % 5 == 0 and one.answered > 2
        batch.leave()
        batch.advance()
    for one, whole in zip(made, expected, strict=True):
        assert answer_of(one) == (whole[: one.answered] if one.is_cancelled else whole)
    assert any(one.is_cancelled for one in gone)


def test_the_likeliest_text_is_that_of_the_graph_without_a_cache_by_hand(cached_model, decoder_of, by_hand):
    prompt = [40, 7, 99, 12, 63]
    assert alone(decoder_of(cached_model), prompt, 40) == by_hand(prompt, 40)


def test_the_same_seed_draws_the_same_text_and_another_one_another(cached_model, decoder_of):
    decoder = decoder_of(cached_model)

    def text(seed):
        return alone(decoder, [1, 2, 3], 30, Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed))

    assert text(5) == text(5)
    assert text(5) != text(6)


def test_a_long_prompt_costs_a_short_one_a_piece_and_a_text_that_is_written_none_of_its_steps(cached_model, decoder_of):
    batch = Batch(decoder_of(cached_model), NONE, 4)
    written, long, short = generation([1], 90), generation(list(range(80)), 5), generation([9, 8], 5)
    batch.join(written)
    batch.advance()
    batch.join(long)
    batch.join(short)

    before = written.answered
    batch.advance()
    batch.advance()

    assert (short.answered > 0, long.answered, written.answered) == (True, 0, before + 2)


def test_a_text_ends_where_the_context_does(cached_model, decoder_of):
    one = generation(list(range(90)), 50)
    batch = Batch(decoder_of(cached_model), NONE, 64)
    batch.join(one)
    told = []
    while batch.size:
        told += batch.advance()
    assert (len(one.tokens), told[-1][1].end) == (text_models.CONTEXT, End.LENGTH)


class Copied:
    """A decoder that notes how many tokens are copied between its slots."""

    slots, context = 16, 10_000

    def __init__(self):
        self.moved, self.swapped = [], []

    def read(self, _slot, text, _begin, end):
        return np.zeros(10, np.float32) if end == len(text) else None

    def step(self, texts, _first):
        return np.zeros((len(texts), 10), np.float32)

    def move(self, _source, _target, length):
        self.moved.append(length)

    def swap(self, _one, _other, length):
        self.swapped.append(length)


def test_of_a_burst_of_prompts_no_more_is_copied_than_has_been_read():
    decoder = Copied()
    batch = Batch(decoder, NONE, 64)
    burst = [generation([1] * 16, 50) for _ in range(16)]
    for one in burst:
        batch.join(one)
    while any(one.answered == 0 for one in burst):
        batch.advance()
    assert (set(decoder.moved), decoder.swapped) == ({16}, [])


def test_of_two_prompts_that_change_places_the_longer_part_that_is_read_is_copied():
    decoder = Copied()
    decoder.slots = 2
    batch = Batch(decoder, NONE, 16)
    long, short = generation([1] * 40, 5), generation([1] * 20, 5)
    for one in (short, long):
        batch.join(one)
    batch.advance()  # 16 of the short one
    batch.advance()  # 16 of the long one, which stands in the first slot
    batch.advance()  # the short one is read
    assert (short.answered, decoder.swapped) == (2, [20])


class Failing:
    """A decoder that cannot go on with texts that have this token, and answers another with numbers that are none."""

    slots, context = 4, 50
    BROKEN, NAN = 66, 77

    def read(self, _slot, text, _begin, end):
        return self._logits(text) if end == len(text) else None

    def step(self, texts, _first):
        if any(self.BROKEN in text for text in texts):
            raise DecoderError("no such kernel")
        return np.stack([self._logits(text) for text in texts])

    def move(self, *_): ...

    swap = move

    def _logits(self, text):
        logits = np.zeros(100, np.float32)
        logits[text[0]] = np.nan if len(text) > 2 and text[0] == self.NAN else 1
        return logits


def test_who_cannot_be_computed_fails_alone():
    batch = Batch(Failing(), NONE, 64)
    good, broken, nan, other = (generation([token], 9) for token in (1, Failing.BROKEN, Failing.NAN, 2))
    for one in (good, broken, nan, other):
        batch.join(one)
    errors = {}
    while batch.size:
        errors |= {id(one): news.error for one, news in batch.advance() if news.error is not None}

    assert answer_of(good) == [1] * 9
    assert answer_of(other) == [2] * 9
    assert errors.keys() == {id(broken), id(nan)}
    assert "no such kernel" in errors[id(broken)].message
    assert {error.status for error in errors.values()} == {500}
