"""Which rows are explained: the worst mistakes, and others by chance (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.kind import Answers
from headrace_trainer.evaluation.tasks.regression import Predicted


class Why(StrEnum):
    """Why a row is in the sample."""

    WORST_MISTAKE = "WorstMistake"
    RANDOM = "Random"


@dataclass(frozen=True)
class Chosen:
    """A row, by its number among those that were judged, from 0 on."""

    row: int
    why: Why


def choose(answers: Answers, rows: int, samples: int, seed: int) -> list[Chosen]:
    """Up to `samples` rows, half of them the worst mistakes, as far as there are so many; none twice. First both kinds
    in turn, so that what the time is too short for is of both.
    """
    wrong = _mistakes(answers)[: samples // 2]
    others = np.setdiff1d(np.arange(rows), wrong)
    drawn = np.random.RandomState(seed).permutation(others)[: samples - len(wrong)]
    worst = [Chosen(int(row), Why.WORST_MISTAKE) for row in wrong]
    random = [Chosen(int(row), Why.RANDOM) for row in drawn]
    both = [one for pair in zip(random, worst, strict=False) for one in pair]
    return both + random[len(worst) :] + worst[len(random) :]


def background(rows: int, count: int, seed: int) -> Array:
    """Rows by chance, others than those of another seed."""
    return np.sort(np.random.RandomState(seed ^ 0x5EED).permutation(rows)[:count])


def _mistakes(answers: Answers) -> Array:
    """The rows that the model is wrong about, the worst first; none where it cannot be told of a row."""
    if isinstance(answers, Classified):
        wrong = answers.truth != answers.predicted
        if answers.probabilities is None:
            return np.flatnonzero(wrong)
        known = np.maximum(answers.truth, 0)
        given = np.where(answers.truth < 0, 0, answers.probabilities[np.arange(len(known)), known])
        return _first(np.flatnonzero(wrong), given)
    if isinstance(answers, Predicted):
        error = np.abs(answers.predicted - answers.truth).sum(axis=1)
        return _first(np.flatnonzero(error > 0), -error)
    return np.array([], dtype=np.int64)


def _first(rows: Array, by: Array) -> Array:
    return np.asarray(rows[np.argsort(by[rows], kind="stable")])
