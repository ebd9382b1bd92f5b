"""What a classifier's numbers are taken for. Single precision is not exact: a forest's trees sum to 1.0000001."""

from __future__ import annotations

import numpy as np
import pytest

from headrace_trainer.evaluation.artifact.outputs import Kind, kind_of, log_probabilities, probabilities


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[1.0000001, -1.2e-7], [0.3, 0.7]], Kind.PROBABILITIES),
        ([[1.2, -0.2], [0.3, 0.7]], Kind.LOGITS),
        ([[0.9, 0.9], [0.3, 0.7]], Kind.SIGMOIDS),
    ],
)
def test_probabilities_that_are_rounded_are_no_logits(values, kind):
    given = np.array(values, dtype=np.float32)
    assert kind_of(given, by_class=True) is kind
    shares = probabilities(given, kind)
    assert shares.min() >= 0
    assert shares.sum(axis=1) == pytest.approx(1)
    if kind is Kind.PROBABILITIES:
        assert shares == pytest.approx(np.array([[1, 0], [0.3, 0.7]]), abs=1e-6)
        assert np.isfinite(log_probabilities(given, kind)).all()


def test_one_number_of_two_classes_may_be_rounded_too():
    given = np.array([[1.0000001], [-1.2e-7], [0.25]], dtype=np.float32)
    kind = kind_of(given, by_class=False)
    assert kind is Kind.PROBABILITIES
    assert probabilities(given, kind)[:, 1] == pytest.approx([1, 0, 0.25], abs=1e-6)
    assert probabilities(given, kind).min() >= 0
