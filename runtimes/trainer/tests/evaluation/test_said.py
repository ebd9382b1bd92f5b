"""What a model says, beside labels that are written in another way than its answers."""

from __future__ import annotations

import numpy as np
import pytest

from headrace_common.protocol.evaluate import parse_evaluate
from headrace_common.protocol.fields import Fields
from headrace_trainer.evaluation.artifact.kind import TEXT, Tensor
from headrace_trainer.evaluation.data.table import Table
from headrace_trainer.evaluation.labels import names_of
from headrace_trainer.evaluation.refusal import Refusal
from headrace_trainer.evaluation.rows import rows_of
from headrace_trainer.evaluation.said import Asking, classified

NUMBERS = Tensor("y", "int64", (None,))


class Says:
    """A model that says the same of each row."""

    format = "ONNX"
    inputs = (Tensor("x", "float32", (None, 2)),)
    classes = ()

    def __init__(self, answer, output):
        self.answer, self.outputs = answer, (output,)

    def run(self, feed):
        return {"y": np.array([self.answer] * len(feed["x"]))}


def said(label, answer, output, *, may_lack_some=False):
    asked = {"task": "Classification", "model": {"uri": "s3://b/m", "digest": "sha256:" + "0" * 64}}
    evaluate = parse_evaluate(Fields(asked | {"data": {"dataset": "heldout"}}, "evaluate"), "evaluate")
    columns = {"label": np.asarray(label), "x": np.zeros((len(label), 2))}
    rows = rows_of(Table(columns, "dataset heldout"), evaluate)
    asking = Asking(Says(answer, output), evaluate.data, rows, lambda _: None)
    return classified(asking, "", may_lack_some=may_lack_some)


@pytest.mark.parametrize("may_lack_some", [False, True], ids=["the model", "the baseline"])
@pytest.mark.parametrize(
    ("label", "answer", "output"),
    [(["cat", "dog"] * 10, 0, NUMBERS), ([0, 1] * 10, "cat", Tensor("y", TEXT, (None,)))],
)
def test_names_and_numbers_are_not_compared(label, answer, output, may_lack_some):
    """Every answer would be wrong: of a baseline any model is as good."""
    with pytest.raises(Refusal, match="one of them by names, the other by numbers"):
        said(label, answer, output, may_lack_some=may_lack_some)


@pytest.mark.parametrize(
    ("labels", "is_known"), [("01", True), ("012", True), ("03", True), ("57", False), ("12", False)]
)
def test_a_baseline_may_lack_a_class_and_not_count_from_another_number(labels, is_known):
    """It has two classes, 0 and 1. Of labels from 1 on it would be wrong in each row, and any model be better."""
    if is_known:
        assert names_of(2, (), labels, may_lack_some=True)[0] == ("0", "1")
        return
    with pytest.raises(Refusal, match="2 classes, from 0 to 1"):
        names_of(2, (), labels, may_lack_some=True)


def test_a_model_that_is_always_wrong_is_wrong_and_not_refused():
    assert said([1] * 20, 0, NUMBERS).answers.measured(np.arange(20))["accuracy"] == 0


@pytest.mark.parametrize(
    ("label", "answer", "output", "message"),
    [
        ([0.0, np.inf] * 10, 0, NUMBERS, "broken numbers"),
        ([0, 1] * 10, [], Tensor("y", "float32", (None, 0)), "no number a class"),
    ],
)
def test_what_is_no_class_is_refused(label, answer, output, message):
    with pytest.raises(Refusal, match=message):
        said(label, answer, output)
