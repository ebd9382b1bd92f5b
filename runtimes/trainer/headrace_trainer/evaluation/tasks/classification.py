"""Classification: a class for each row, most often by a probability for each class."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics

from headrace_trainer.evaluation.statistics.families import Family
from headrace_trainer.evaluation.tasks import calibration, classification_sums, ranked

Array = np.ndarray[Any, np.dtype[Any]]
TOP = 5
OF_CURVES = frozenset({"roc_auc", "average_precision"})
_OF_PROBABILITIES = OF_CURVES | {"log_loss", "brier_score", "calibration_error", "top_5_accuracy"}


@dataclass(frozen=True)
class Classified:
    """One model's answers. `truth` and `predicted` are indices of classes, of which there are `classes`; of two the
    `positive` one is what areas under curves are of, and, where the spec names it (`is_named`), precision, recall and
    f1. `probabilities` has a row a row and a column a class, each row
    summing to 1; None where the model names a class and no more. `known` is how many classes the model that is judged
    knows, where some are the baseline's alone: what is measured of it hangs on no other model.
    """

    truth: Array
    predicted: Array
    probabilities: Array | None
    weights: Array
    classes: int
    positive: int = 1
    known: int = 0
    is_named: bool = False

    @property
    def is_binary(self) -> bool:
        return (self.known or self.classes) == 2

    @property
    def one(self) -> int | None:
        """The class that precision, recall and f1 are of; None: they are means over classes."""
        return self.positive if self.is_named and self.is_binary else None

    def measured(self, items: Array) -> Mapping[str, float]:
        truth, predicted, weights = self.truth[items], self.predicted[items], self.weights[items]
        with warnings.catch_warnings():  # of classes that these rows lack, which is a matter of the rows
            warnings.simplefilter("ignore")
            found = _of_classes(truth, predicted, weights, self.one)
            if self.probabilities is not None:
                found |= self._of_probabilities(truth, self.probabilities[items].astype(np.float64), weights)
        return found

    def families(self, items: Array, wanted: Collection[str]) -> Sequence[Family]:
        truth, predicted, weights = self.truth[items], self.predicted[items], self.weights[items]
        found: list[Family] = []
        if not _OF_PROBABILITIES.issuperset(wanted):
            found.append(classification_sums.confusion(truth, predicted, weights, self.classes, self.one))
        if self.probabilities is None or _OF_PROBABILITIES.isdisjoint(wanted):
            return found
        given = self.probabilities[items].astype(np.float64)
        found.append(self._means(truth, given, weights))
        found.append(calibration.family(truth, predicted, given, weights))
        if not OF_CURVES.isdisjoint(wanted):
            found += ranked.families(truth, given, weights, self._curves(truth))
        return found

    @property
    def _has_top(self) -> bool:
        return (self.known or self.classes) > TOP

    def _means(self, truth: Array, given: Array, weights: Array) -> Family:
        top, positive = TOP if self._has_top else None, self.positive if self.is_binary else None
        return classification_sums.means(truth, given, weights, top=top, positive=positive)

    def _of_probabilities(self, truth: Array, given: Array, weights: Array) -> dict[str, float]:
        every = np.arange(self.classes)
        found = {
            "log_loss": float(metrics.log_loss(truth, given, sample_weight=weights, labels=every)),
            "calibration_error": calibration.error(truth, given.argmax(axis=1), given, weights),
        }
        if self.is_binary:
            shown = given[:, self.positive]
            found["brier_score"] = float(
                metrics.brier_score_loss(truth == self.positive, shown, sample_weight=weights, pos_label=True)
            )
        else:
            found["brier_score"] = float(
                metrics.brier_score_loss(truth, given, sample_weight=weights, labels=every, scale_by_half=False)
            )
        if self._has_top:
            found["top_5_accuracy"] = float(
                metrics.top_k_accuracy_score(truth, given, k=TOP, sample_weight=weights, labels=every)
            )
        return found | self._areas(truth, given, weights)

    def _areas(self, truth: Array, given: Array, weights: Array) -> dict[str, float]:
        """Of two classes the positive one's; of more the mean over those that there are, each against the rest."""
        of = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}
        curves = self._curves(truth)
        return {
            name: float(np.mean([area(truth == one, given[:, one], sample_weight=weights) for one in curves]))
            if len(curves)
            else float("nan")
            for name, area in of.items()
        }

    def _curves(self, truth: Array) -> list[int]:
        """The classes that a curve can be drawn of: some rows are of it, and some are not."""
        there = np.unique(truth)
        if len(there) < 2:
            return []
        return [self.positive] if self.is_binary else [int(one) for one in there]


def _of_classes(truth: Array, predicted: Array, weights: Array, one: int | None) -> dict[str, float]:
    shared: dict[str, Any] = {"sample_weight": weights, "zero_division": 0}
    return {
        "accuracy": float(metrics.accuracy_score(truth, predicted, sample_weight=weights)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(truth, predicted, sample_weight=weights)),
        **_of_one_or_all(truth, predicted, one, shared),
        "f1_weighted": float(metrics.f1_score(truth, predicted, average="weighted", **shared)),
        "matthews": float(metrics.matthews_corrcoef(truth, predicted, sample_weight=weights)),
    }


def _of_one_or_all(truth: Array, predicted: Array, one: int | None, shared: Mapping[str, Any]) -> dict[str, float]:
    of = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}
    if one is None:
        return {name: float(score(truth, predicted, average="macro", **shared)) for name, score in of.items()}
    is_one, is_said = truth == one, predicted == one
    found = {name: float(score(is_one, is_said, average="binary", **shared)) for name, score in of.items()}
    # Of rows among which the class is not, nothing can be found, nor missed: scikit-learn's 0 would be no measure.
    return found if is_one.any() else found | {"recall": float("nan"), "f1": float("nan")}
