"""What the paired bootstrap promises: an equal model passes, a worse one is found, the interval has what it is to have.

Pure numpy and scikit-learn; all chance has a seed.
"""

from __future__ import annotations

import numpy as np
import pytest

from headrace_common.evaluation import Better
from headrace_trainer.evaluation.statistics import compare, resamples
from headrace_trainer.evaluation.tasks.classification import OF_CURVES, Classified
from headrace_trainer.evaluation.tasks.ranking import Ranked
from headrace_trainer.evaluation.tasks.regression import Predicted
from thorough import thorough

SEEDS = 200


def classes(random, truth, accuracy):
    """A model that is right with this probability, independently of any other."""
    said = np.where(random.random(len(truth)) < accuracy, truth, 1 - truth)
    return Classified(truth, said, None, np.ones(len(truth)), 2)


def answers(random, truth, accuracy, weights=None):
    """The same, and as sure as it is right."""
    said = classes(random, truth, accuracy).predicted
    sure = np.clip(accuracy + 0.1 * random.normal(size=len(truth)), 0.51, 0.99)
    given = np.where(np.arange(2)[None, :] == said[:, None], sure[:, None], 1 - sure[:, None])
    return Classified(truth, said, given.astype(np.float32), np.ones(len(truth)) if weights is None else weights, 2)


def differences(candidate, baseline, names, *, seed, better, units=None, confidence=0.95, replicates=1000, draws=None):
    """As judgement.py has them, of all items."""
    items = np.arange(len(candidate.weights))
    units = units or resamples.units(len(items), None, seed)
    draws = resamples.draws(units.count, seed, replicates) if draws is None else draws
    found, values, linear = [], [], []
    for one in (candidate, baseline):
        families = [family for family in one.families(items, names) if set(family.metrics) & set(names)]
        found.append({})
        values.append({})
        linear.append({name: family.columns for family in families for name in family.metrics if name in OF_CURVES})
        for family in families:
            found[-1] |= compare.replicated(family, units.of, draws)
            values[-1] |= family.values()
    return {
        name: compare.difference(
            found[0][name],
            found[1][name],
            values[0][name] - values[1][name],
            better[name],
            confidence,
            units.spread(items),
            min(
                units.effective(items, candidate.weights) - 1,
                compare.degrees(linear[0][name] - linear[1][name], candidate.truth) if name in OF_CURVES else np.inf,
            ),
        )
        for name in names
    }


BETTER = {"accuracy": Better.GREATER, "roc_auc": Better.GREATER, "log_loss": Better.LESS, "f1": Better.GREATER}
ACCURACY = {"accuracy": Better.GREATER}


@pytest.mark.parametrize(("rows", "accuracy"), [(60, 0.8), thorough(400, 0.9)])
def test_an_equal_model_passes_in_95_percent_of_all_cases(rows, accuracy):
    passed, draws = dict.fromkeys(BETTER, 0), resamples.draws(rows, 0)  # as many as in a pod; of other data each time
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, rows)
        both = [answers(random, truth, accuracy) for _ in range(2)]
        found = differences(*both, BETTER, seed=seed, better=BETTER, draws=draws)
        for name, difference in found.items():
            passed[name] += difference.worse_by <= 0
    assert all(count >= 0.95 * SEEDS for count in passed.values()), passed


@pytest.mark.parametrize(("drop", "rows"), [thorough(0.01, 20_000), (0.03, 3000), (0.10, 300)])
def test_a_regression_is_found_with_the_rows_that_the_docs_say(drop, rows):
    """docs/how-to/evaluate.md: of a baseline that is right in 90 %, in four of five cases."""
    found = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, rows)
        baseline, candidate = classes(random, truth, 0.9), classes(random, truth, 0.9 - drop)
        difference = differences(candidate, baseline, ACCURACY, seed=seed, better=BETTER, replicates=300)["accuracy"]
        found += difference.worse_by > 0
    assert found >= 0.8 * 40, found


def test_an_equal_model_passes_where_one_class_is_rare():
    """Two positives among two hundred rows are two: their spread is hardly known."""
    better = {"roc_auc": Better.GREATER, "average_precision": Better.GREATER}
    failed = dict.fromkeys(better, 0)
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        truth = np.r_[1, 1, np.zeros(198, dtype=int)]
        both = []
        for _ in range(2):
            shown = 1 / (1 + np.exp(-(2 * truth - 1 + 1.5 * random.normal(size=200))))
            given = np.stack([1 - shown, shown], axis=1)
            both.append(Classified(truth, given.argmax(axis=1), given, np.ones(200), 2))
        found = differences(*both, list(better), seed=seed, better=better, replicates=300)
        for name in better:
            failed[name] += found[name].worse_by > 0
    assert max(failed.values()) <= 0.05 * SEEDS + 1, failed


def test_an_equal_model_passes_where_few_rows_weigh_most():
    better, failed = {**BETTER, "brier_score": Better.LESS}, 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        truth, weights = random.integers(0, 2, 200), np.exp(2 * random.normal(size=200))
        both = []
        for _ in range(2):
            shown = 1 / (1 + np.exp(-(2 * truth - 1 + 1.5 * random.normal(size=200))))
            given = np.stack([1 - shown, shown], axis=1)
            both.append(Classified(truth, given.argmax(axis=1), given, weights, 2))
        found = differences(*both, list(better), seed=seed, better=better, replicates=300)
        failed += np.array([found[name].worse_by > 0 for name in better])
    assert max(failed) <= 0.05 * SEEDS + 1, dict(zip(better, failed, strict=True))


def test_the_interval_has_the_true_difference_as_often_as_it_says():
    inside = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, 400)
        found = differences(
            classes(random, truth, 0.85),
            classes(random, truth, 0.9),
            ["accuracy"],
            seed=seed,
            better=BETTER,
            replicates=400,
        )["accuracy"]
        assert found.low <= found.value <= found.high
        inside += found.low <= -0.05 <= found.high
    assert 0.93 * SEEDS <= inside <= 0.995 * SEEDS, inside


def test_rows_of_a_group_are_drawn_together_or_the_bound_is_too_sure():
    """Twenty rows a patient say no more than one where all of them are right or wrong together."""
    grouped = single = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        group = np.repeat(np.arange(60), 20)
        truth = np.repeat(random.integers(0, 2, 60), 20)
        both = []
        for _ in range(2):
            said = np.where(random.random(60) < 0.8, truth[::20], 1 - truth[::20])[group]
            both.append(Classified(truth, said, None, np.ones(1200), 2))
        of = {"seed": seed, "better": BETTER, "replicates": 300}
        by_group = resamples.units(1200, group, seed)
        grouped += differences(*both, ["accuracy"], units=by_group, **of)["accuracy"].worse_by > 0
        single += differences(*both, ["accuracy"], **of)["accuracy"].worse_by > 0
    assert grouped <= 4
    assert single >= 10


def test_many_rows_are_joined_and_the_spread_is_the_same():
    """The bound on memory and time costs nothing of the answer."""
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 20_000)
    both = [answers(random, truth, 0.9), answers(random, truth, 0.9)]
    joined = differences(*both, BETTER, seed=1, better=BETTER)
    units = resamples.Units(np.arange(20_000), 20_000, np.arange(20_000))
    whole = differences(*both, BETTER, seed=1, better=BETTER, units=units, replicates=400)
    for name in BETTER:
        widths = [of[name].high - of[name].low for of in (joined, whole)]
        assert widths[0] == pytest.approx(widths[1], rel=0.15), name


def test_the_same_model_does_not_differ_from_itself():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 500)
    model = answers(random, truth, 0.9, random.uniform(0.5, 2, 500))
    for difference in differences(model, model, BETTER, seed=3, better=BETTER).values():
        assert (difference.value, difference.low, difference.high, difference.worse_by) == (0, 0, 0, 0)


def test_of_few_rows_nothing_is_said():
    truth = np.array([0, 1] * 9)
    right = Classified(truth, truth, None, np.ones(18), 2)
    wrong = Classified(truth, 1 - truth, None, np.ones(18), 2)
    found = differences(wrong, right, ["accuracy"], seed=0, better=BETTER)["accuracy"]
    assert found.value == -1
    assert np.isnan([found.low, found.high, found.worse_by]).all()


def test_less_is_better_of_errors_and_queries_are_what_a_ranking_has():
    random = np.random.default_rng(1)
    truth = random.normal(size=(800, 1))
    better = {"mean_absolute_error": Better.LESS, "r2": Better.GREATER, "median_absolute_error": Better.LESS}
    good = Predicted(truth, truth + 0.1 * random.normal(size=truth.shape), np.ones(800))
    bad = Predicted(truth, truth + 0.5 * random.normal(size=truth.shape), np.ones(800))
    for name, difference in differences(bad, good, better, seed=2, better=better).items():
        assert difference.worse_by > 0.1, name
        assert (difference.value < 0) == (better[name] is Better.GREATER), name
    values = random.random((100, 6))
    ranking = {"ndcg": Better.GREATER}
    worse = Ranked(np.clip(values - 0.2, 0, 1), np.ones(100))
    assert differences(worse, Ranked(values, np.ones(100)), ranking, seed=2, better=ranking)["ndcg"].worse_by > 0.1
