"""What a stage of evaluation measures, and by which names it lies in MLflow: what the operator judges by, and what the
launcher writes, has to be spelled alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum


class Task(StrEnum):
    """What a model is for, and so what is measured of it. SCRIPT: what the user's program measures."""

    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"
    RANKING = "Ranking"
    TEXT_GENERATION = "TextGeneration"
    SCRIPT = "Script"


class Better(StrEnum):
    """Which of two values of a metric is the better one."""

    GREATER = "Greater"
    LESS = "Less"


_GREATER, _LESS = Better.GREATER, Better.LESS
# Names and meanings are scikit-learn's, where it has them. A change of a name here is one of every spec that names it.
METRICS: Mapping[Task, Mapping[str, Better]] = {
    Task.CLASSIFICATION: {
        "accuracy": _GREATER,
        "balanced_accuracy": _GREATER,
        "precision": _GREATER,
        "recall": _GREATER,
        "f1": _GREATER,
        "f1_weighted": _GREATER,
        "matthews": _GREATER,
        "roc_auc": _GREATER,
        "average_precision": _GREATER,
        "top_5_accuracy": _GREATER,
        "log_loss": _LESS,
        "brier_score": _LESS,
        "calibration_error": _LESS,
    },
    Task.REGRESSION: {
        "mean_absolute_error": _LESS,
        "mean_squared_error": _LESS,
        "root_mean_squared_error": _LESS,
        "median_absolute_error": _LESS,
        "mean_absolute_percentage_error": _LESS,
        "max_error": _LESS,
        "r2": _GREATER,
        "explained_variance": _GREATER,
    },
    Task.RANKING: {
        "ndcg": _GREATER,
        "ndcg_10": _GREATER,
        "mean_average_precision": _GREATER,
        "mean_reciprocal_rank": _GREATER,
        "precision_10": _GREATER,
        "recall_10": _GREATER,
    },
    Task.TEXT_GENERATION: {
        "perplexity": _LESS,
        "cross_entropy": _LESS,
        "accuracy": _GREATER,
        "top_5_accuracy": _GREATER,
    },
}
# Of two classes these are the positive one's, as scikit-learn's average="binary" has them, where evaluate.data.positive
# names it. Otherwise they are the mean over classes (average="macro").
OF_POSITIVE = frozenset({"precision", "recall", "f1"})
MEAN_OVER_CLASSES = "mean over classes"
# Between the groups that a sensitive column makes; the slice of such a metric is the column alone. Fairlearn's.
FAIRNESS: Mapping[Task, Mapping[str, Better]] = {
    Task.CLASSIFICATION: {
        "demographic_parity_difference": _LESS,
        "demographic_parity_ratio": _GREATER,
        "equalized_odds_difference": _LESS,
        "equalized_odds_ratio": _GREATER,
        "equal_opportunity_difference": _LESS,
        "equal_opportunity_ratio": _GREATER,
    },
}

# Of fewer rows (or groups of these) that are independent of one another no difference is told: whatever an interval is
# made by, it would be wrong too often.
LEAST_UNITS = 20

# Of the run of a stage of evaluation, before a metric's key: the baseline's value; how the candidate differs from the
# baseline, and the two-sided interval of that; the one-sided lower bound of how much worse the candidate is, by which
# maxRegression is judged; how many rows that was measured on.
BASELINE = "baseline/"
DIFFERENCE = "difference/"
DIFFERENCE_LOW = "difference_low/"
DIFFERENCE_HIGH = "difference_high/"
WORSE_BY = "worse_by/"
SAMPLES = "samples/"
PREFIXES = (BASELINE, DIFFERENCE, DIFFERENCE_LOW, DIFFERENCE_HIGH, WORSE_BY, SAMPLES)
# Of the job's run, and of its status: a metric of the stage among those of the training.
OF_JOB = "evaluate/"
# The folder of the artifacts of the stage's run.
FOLDER = "evaluation"

# MLflow has at most 250 characters, of which the longest prefix takes 16.
_MAX_KEY = 220
_ESCAPED = re.compile(r"[^A-Za-z0-9_. -]")
_ESCAPE = r"(?:::[0-9a-f]{2})"
_PARTS = re.compile(rf"((?:{_ESCAPE}|[^:])*)(?::((?:{_ESCAPE}|[^:])*))?")


def named(metric: str, of: str) -> str:
    """A metric as people read it, which is of this class, LABEL=CLASS, or MEAN_OVER_CLASSES; of no metric but those of
    OF_POSITIVE anything is said.
    """
    if metric not in OF_POSITIVE:
        return metric
    return f"{metric} ({of})" if of == MEAN_OVER_CLASSES else f"{metric} of {of}"


def slice_of(column: str, value: str) -> str:
    """The slice of the rows that have this value in this column, as a gate names it."""
    return f"{column}={value}"


def metric_key(metric: str, of_slice: str = "") -> str:
    """The metric's name in MLflow: `accuracy`, `accuracy/region:north` of the slice `region=north`, and
    `demographic_parity_ratio/sex` of a column. Two slices never have the same one: a character that no metric may have
    is `::` and two hex digits for each of its bytes in UTF-8.
    """
    if not of_slice:
        return metric
    column, equals, value = of_slice.partition("=")
    key = f"{metric}/{_column(column)}" + (f":{_escaped(value)}" if equals else "")
    if len(key) <= _MAX_KEY:
        return key
    digest = hashlib.sha256(f"{metric}\0{of_slice}".encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{key[: _MAX_KEY - 33]}-{digest}"


def slice_of_key(metric: str, key: str) -> str | None:
    """The slice that `metric_key` has made this key of; None of another metric, of all rows, or of one that was too
    long.
    """
    told = key.removeprefix(f"{metric}/")
    if told == key or len(key) >= _MAX_KEY:
        return None
    found = _PARTS.fullmatch(told.removeprefix("_::-"))
    if found is None:
        return None
    column, value = (None if part is None else _plain(part) for part in found.groups())
    return column if value is None else slice_of(column or "", value)


def _column(name: str) -> str:
    # A part of a metric's name begins with a letter, a digit or _. What is before the dash here is no escape.
    return _escaped(name) if re.match(r"[A-Za-z0-9_]", name) else f"_::-{_escaped(name)}"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(
        lambda found: "".join(f"::{byte:02x}" for byte in found[0].encode(errors="surrogatepass")), text
    )


def _plain(text: str) -> str:
    return re.sub(f"{_ESCAPE}+", lambda found: bytes.fromhex(found[0].replace("::", "")).decode(errors="replace"), text)
