"""A graph with a cache is proven by all of its logits: one that is no number proves nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from headrace_trainer.adapters.keras.export.text import first_difference, verify
from headrace_trainer.adapters.keras.export.text.layers import Found

CONTEXT, VOCABULARY = 12, 5
FOUND = Found((), None, "")
NAN, INFINITE = float("nan"), float("inf")


class Decoder:
    """One whose logits are of the token and of its position alone."""

    length, vocabulary = None, VOCABULARY
    wrong: tuple[int, int] | None = None  # row and position of a logit that is `value`
    value = NAN

    def texts(self, rows, length):
        return np.arange(rows * length).reshape(rows, length).astype("int32") % VOCABULARY

    def compute(self, tokens):
        logits = self.of(tokens, np.arange(tokens.shape[1])[None])
        if self.wrong is not None:
            logits[self.wrong][0] = self.value
        return logits

    @staticmethod
    def of(tokens, positions):
        return np.sin(tokens[:, :, None] + 1.0 + positions[:, :, None] * np.arange(VOCABULARY)).astype("float32")


class Engine:
    """A session of ONNX Runtime: in its call number `call` the last logit of `row` is off by `more`."""

    def __init__(self, call=0, row=0, more=0.0):
        self.calls, self.call, self.row, self.more = 0, call, row, more

    def get_inputs(self):
        return [SimpleNamespace(name=name) for name in ("input_ids", "position_ids")]

    def run(self, wanted, given):
        self.calls += 1
        logits = Decoder.of(given["input_ids"], given["position_ids"])
        if self.calls == self.call:
            # The shorter text is filled up in the first call: its own last token stands before.
            end = verify.prompts_of(CONTEXT)[self.row] if self.calls == 1 else 1
            logits[self.row, end - 1, 0] += self.more
        return [logits]


def difference(engine, decoder=None):
    return verify.difference(decoder or Decoder(), FOUND, engine, CONTEXT)


def test_the_same_logits_differ_by_nothing():
    engine = Engine()
    assert difference(engine) == 0
    assert engine.calls == 1 + verify.STEPS


@pytest.mark.parametrize("more", [NAN, INFINITE, -INFINITE, 1e30])
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("call", [1, 2, 1 + verify.STEPS])
def test_a_logit_that_is_no_number_in_either_text_or_in_any_step_is_a_difference(call, row, more):
    assert difference(Engine(call, row, more)) > 1e3


@pytest.mark.parametrize("value", [NAN, INFINITE])
@pytest.mark.parametrize("wrong", [(0, 0), (1, 3), (0, CONTEXT - 1), (1, CONTEXT - 1)])
def test_a_model_that_computes_no_numbers_itself_is_not_proven_to_be_the_same(wrong, value):
    decoder = Decoder()
    decoder.wrong, decoder.value = wrong, value
    assert difference(Engine(), decoder) == INFINITE


@pytest.mark.parametrize(
    ("whole", "step", "differ"),
    [
        ([1.0, 2.0], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0, 2.1], True),
        ([1.0, 2.0], [1.0, NAN], True),
        ([1.0, 2.0], [1.0, INFINITE], True),
        ([1.0, -INFINITE], [1.0, -INFINITE], False),
        ([1.0, -INFINITE], [1.5, -INFINITE], True),
        ([1.0, NAN], [1.0, NAN], False),
    ],
)
def test_the_layer_that_first_computes_no_number_is_one_that_differs(whole, step, differ):
    assert first_difference._differ(np.array(whole), np.array(step)) is differ
