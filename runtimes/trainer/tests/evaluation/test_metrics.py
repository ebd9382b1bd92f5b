"""Each metric twice: as scikit-learn (or fairlearn) computes it, and as sums over rows. Both are the same number."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn import metrics as fairlearn
from sklearn import metrics as sklearn

from headrace_common.evaluation import FAIRNESS, METRICS, Task
from headrace_trainer.evaluation import fairness
from headrace_trainer.evaluation.tasks import ranked
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.ranking import NAMES, Ranked, values_of_groups
from headrace_trainer.evaluation.tasks.regression import Predicted
from headrace_trainer.evaluation.tasks.text_generation import Generated, sums_of

ROWS = 300
EVERY = {name for of_task in METRICS.values() for name in of_task}


def by_sums(answers, items):
    return {name: value for family in answers.families(items, EVERY) for name, value in family.values().items()}


def classified(classes, *, ties=False, lacks=(), is_named=False):
    """Some rows are of classes that the model has, and some classes have no rows."""
    random = np.random.default_rng(classes)
    given = random.dirichlet(np.ones(classes), size=ROWS)
    if ties:
        given = np.round(given * 4 + 1e-3) + 0.1
        given /= given.sum(axis=1, keepdims=True)
    truth = np.where(random.random(ROWS) < 0.6, given.argmax(axis=1), random.integers(0, classes, ROWS))
    for one in lacks:
        truth[truth == one] = (one + 1) % classes
    weights = random.uniform(0.2, 3, ROWS)
    given = given.astype(np.float32)
    return Classified(truth, given.argmax(axis=1), given, weights, classes, is_named=is_named)


@pytest.mark.parametrize(
    "answers",
    [
        classified(2),
        classified(2, is_named=True),
        classified(2, ties=True),
        classified(3, ties=True, is_named=True),
        classified(9, lacks=(2, 4)),
    ],
    ids=["two classes", "a positive one", "equal scores", "three classes", "classes without rows"],
)
def test_sums_are_what_scikit_learn_says_of_classes(answers):
    for items in (np.arange(ROWS), np.arange(0, ROWS, 3), np.flatnonzero(answers.truth == answers.truth[0])):
        measured, sums = answers.measured(items), by_sums(answers, items)
        for name, value in measured.items():
            if np.isnan(value):
                assert name in ("roc_auc", "average_precision", "recall", "f1")
                assert len(np.unique(answers.truth[items])) == 1
                assert name not in sums or np.isnan(sums[name])
            else:
                assert sums[name] == pytest.approx(value, abs=2e-6), name
    assert set(measured) == set(METRICS[Task.CLASSIFICATION]) - ({"top_5_accuracy"} if answers.classes < 6 else set())


def test_a_model_that_never_says_the_positive_class_finds_none_of_it():
    """What a gate on recall is for. Means over classes say 0.5 of it."""
    truth = np.arange(100) < 30
    never = Classified(truth.astype(int), np.zeros(100, int), None, np.ones(100), 2, is_named=True)
    rows, positives, others = np.arange(100), np.arange(30), np.arange(30, 100)

    assert [never.measured(rows)[name] for name in ("precision", "recall", "f1")] == [0, 0, 0]
    assert never.measured(positives)["recall"] == 0
    assert np.isnan(never.measured(others)["recall"])  # nothing was there to be found
    unnamed = Classified(truth.astype(int), np.zeros(100, int), None, np.ones(100), 2)
    assert unnamed.measured(rows)["recall"] == 0.5


@pytest.mark.parametrize(("classes", "average"), [(2, "binary"), (3, "macro")])
def test_precision_recall_and_f1_are_those_of_scikit_learns_average(classes, average):
    answers = classified(classes, is_named=True)
    measured = answers.measured(np.arange(ROWS))
    for name, score in (
        ("precision", sklearn.precision_score),
        ("recall", sklearn.recall_score),
        ("f1", sklearn.f1_score),
    ):
        expected = score(answers.truth, answers.predicted, average=average, sample_weight=answers.weights)
        assert measured[name] == pytest.approx(expected), name


def test_the_areas_are_those_of_scikit_learn_and_the_slopes_are_their_derivatives():
    random = np.random.default_rng(1)
    positive, scores = random.integers(0, 2, 80).astype(float), np.round(random.random(80), 1)
    weights = random.uniform(0.5, 2, 80)
    for of, reference in (
        (ranked.roc_auc, sklearn.roc_auc_score),
        (ranked.average_precision, sklearn.average_precision_score),
    ):
        value, slopes = of(positive, scores, weights)
        assert value == pytest.approx(reference(positive, scores, sample_weight=weights))
        for row in range(0, 80, 7):
            more = weights.copy()
            more[row] += 1e-5
            assert (of(positive, scores, more)[0] - value) / 1e-5 == pytest.approx(slopes[row], abs=1e-5)


def test_sums_are_what_scikit_learn_says_of_numbers():
    random = np.random.default_rng(0)
    truth = random.normal(size=(ROWS, 2)) + 1e6
    answers = Predicted(truth, truth + random.normal(size=(ROWS, 2)), random.uniform(0.2, 3, ROWS))
    for items in (np.arange(ROWS), np.arange(0, ROWS, 7)):
        measured, sums = answers.measured(items), by_sums(answers, items)
        assert set(measured) == set(METRICS[Task.REGRESSION])
        for name, value in measured.items():
            assert sums[name] == pytest.approx(value, rel=1e-6, abs=2e-2 * (name == "median_absolute_error")), name
    assert answers.bias(items) == pytest.approx(
        np.average((answers.predicted - truth)[items].mean(axis=1), weights=answers.weights[items])
    )


def test_of_many_errors_the_median_is_near():
    random = np.random.default_rng(0)
    truth = random.normal(size=(20_000, 1))
    answers = Predicted(truth, truth + random.exponential(size=truth.shape), np.ones(20_000))
    items = np.arange(20_000)
    measured, sums = answers.measured(items), by_sums(answers, items)
    assert sums["median_absolute_error"] == pytest.approx(measured["median_absolute_error"], rel=5e-3)
    assert sums["max_error"] == pytest.approx(measured["max_error"])


def test_a_ranking_is_what_scikit_learn_says_of_each_query():
    random = np.random.default_rng(3)
    group = random.integers(0, 40, 700)
    label = random.integers(0, 4, 700) * (random.random(700) < 0.5).astype(float)
    label[group == 7] = 0
    score = np.round(label + random.normal(size=700), 0)
    group = np.unique(group, return_inverse=True)[1]
    values = values_of_groups(group, label, score)
    for one in range(group.max() + 1):
        rows = group == one
        truth, said = label[rows][None], score[rows][None]
        assert values[one, 0] == pytest.approx(sklearn.ndcg_score(truth, said))
        assert values[one, 1] == pytest.approx(sklearn.ndcg_score(truth, said, k=10))
        if (truth > 0).any():
            assert values[one, 2] == pytest.approx(sklearn.average_precision_score(truth[0] > 0, said[0]))
        else:
            assert not values[one].any()
    answers = Ranked(values, np.ones(len(values)))
    assert by_sums(answers, np.arange(len(values))) == pytest.approx(answers.measured(np.arange(len(values))))
    assert set(NAMES) == set(METRICS[Task.RANKING])


def test_the_places_of_a_ranking_by_hand():
    """Two queries: the second one's relevant row shares its score with one that is not, and comes after it."""
    values = values_of_groups(np.array([0, 0, 0, 1, 1]), np.array([0.0, 2, 1, 1, 0]), np.array([3.0, 2, 1, 5, 5]))
    of = dict(zip(NAMES, values.T, strict=True))
    assert of["mean_reciprocal_rank"].tolist() == [1 / 2, 1 / 2]
    assert of["precision_10"].tolist() == [0.2, 0.1]
    assert of["recall_10"].tolist() == [1, 1]
    assert of["mean_average_precision"] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 2])


def test_text_is_judged_by_the_tokens_that_count():
    random = np.random.default_rng(2)
    logs = np.log(random.dirichlet(np.ones(12), size=(6, 5))).astype(np.float32)
    tokens = random.integers(0, 12, (6, 5))
    counts = random.random((6, 5)) < 0.7
    answers = Generated(sums_of(logs, np.where(counts, tokens, -1), counts), np.ones(6), 12)
    measured = answers.measured(np.arange(6))
    given, truth = np.exp(logs[counts].astype(float)), tokens[counts]
    given /= given.sum(axis=1, keepdims=True)
    entropy = sklearn.log_loss(truth, given, labels=np.arange(12))
    assert measured["cross_entropy"] == pytest.approx(entropy, rel=1e-5)
    assert measured["perplexity"] == pytest.approx(np.exp(entropy), rel=1e-5)
    assert measured["accuracy"] == pytest.approx((given.argmax(axis=1) == truth).mean())
    assert measured["top_5_accuracy"] == pytest.approx(
        sklearn.top_k_accuracy_score(truth, given, k=5, labels=np.arange(12))
    )
    assert set(measured) == set(METRICS[Task.TEXT_GENERATION])


def test_a_model_that_knows_nothing_is_right_of_one_token_in_as_many_as_there_are():
    tokens = np.arange(12)[:, None]
    sums = sums_of(np.full((12, 1, 12), -np.log(12.0)), tokens, tokens >= 0)
    measured = Generated(sums, np.ones(12), 12).measured(np.arange(12))
    assert measured["accuracy"] == pytest.approx(1 / 12)
    assert measured["top_5_accuracy"] == pytest.approx(5 / 12)
    assert measured["perplexity"] == pytest.approx(12)


def test_fairness_is_what_fairlearn_says():
    random = np.random.default_rng(4)
    truth, given = random.random(ROWS) < 0.4, random.random(ROWS) < 0.5
    group, weights = random.integers(0, 3, ROWS), random.uniform(0.2, 3, ROWS)
    truth[group == 2] = False  # no rate of true positives
    measured = fairness.measured(truth, given, group, weights)
    of_rows = {"sensitive_features": group, "sample_weight": weights}
    assert measured == pytest.approx(
        {name: getattr(fairlearn, name)(truth, given, **of_rows) for name in FAIRNESS[Task.CLASSIFICATION]}
    )
    assert fairness.family(truth, given, group, weights).values() == pytest.approx(measured)
    shares = fairness.by_group(truth, given, group, weights)
    frame = fairlearn.MetricFrame(
        metrics=fairlearn.selection_rate,
        y_true=truth,
        y_pred=given,
        sensitive_features=group,
        sample_params={"sample_weight": weights},
    )
    for one, of in shares.items():
        assert of["selection_rate"] == pytest.approx(frame.by_group[one])
