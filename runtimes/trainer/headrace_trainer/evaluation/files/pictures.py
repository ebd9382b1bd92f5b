"""Pictures of what was found. They show shares and counts, and no row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from sklearn import metrics

from headrace_common.evaluation import Task
from headrace_trainer.evaluation.judgement import Judgement
from headrace_trainer.evaluation.said import Said
from headrace_trainer.evaluation.tasks import calibration
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.regression import Predicted

matplotlib.use("Agg")
from matplotlib import pyplot

_MOST_CLASSES = 30
_MOST_CURVES = 10
_MOST_SLICES = 40
_BINS = 60
_DOTS = 120

Draw = Callable[[Any, Said, Said | None, Judgement], bool]


def draw(folder: Path, task: Task, candidate: Said, baseline: Said | None, found: Judgement) -> list[str]:
    """Writes what there is to show, and gives the names of the files."""
    drawn = []
    for name, of in (*_OF_TASK.get(task, ()), ("slices", _slices)):
        figure, axes = pyplot.subplots(figsize=(7, 5), dpi=110)
        try:
            if of(axes, candidate, baseline, found):
                save(figure, folder / f"{name}.png")
                drawn.append(f"{name}.png")
        finally:
            pyplot.close(figure)
    return drawn


def save(figure: Any, path: Path) -> None:
    """Without the versions of libraries, so that the same numbers are the same bytes."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def plain(text: str) -> str:
    """Not read as a formula."""
    return text[:30].replace("$", r"\$")


def _confusion(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    answers = _classes(candidate)
    if answers is None or answers.classes > _MOST_CLASSES:
        return False
    every = np.arange(answers.classes)
    counts = metrics.confusion_matrix(answers.truth, answers.predicted, labels=every, sample_weight=answers.weights)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [plain(name) for name in candidate.classes]
    axes.set_xticks(every, names, rotation=90 if answers.classes > 5 else 0)
    axes.set_yticks(every, names)
    if answers.classes <= 12:
        for row in every:
            for column in every:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(title="Confusion: what the rows of each class are taken for", xlabel="the model's", ylabel="true")
    return True


def _roc(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    def points(truth: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        false, true, _ = metrics.roc_curve(truth, scores, sample_weight=weights)
        return false, true

    axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1)
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    return _curves(axes, candidate, baseline, points)


def _precision_recall(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    def points(truth: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        precision, recall, _ = metrics.precision_recall_curve(truth, scores, sample_weight=weights)
        return recall, precision

    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    return _curves(axes, candidate, baseline, points)


def _curves(axes: Any, candidate: Said, baseline: Said | None, points: Callable[..., tuple[Any, Any]]) -> bool:
    answers = _classes(candidate)
    if answers is None or answers.probabilities is None or len(np.unique(answers.truth)) < 2:
        return False
    is_binary = answers.is_binary
    classes = [answers.positive] if is_binary else [int(one) for one in np.unique(answers.truth)][:_MOST_CURVES]
    for one in classes:
        label = "model" if is_binary else plain(candidate.classes[one])
        axes.plot(*points(answers.truth == one, answers.probabilities[:, one], answers.weights), label=label)
    other = None if baseline is None else _classes(baseline)
    if is_binary and other is not None and other.probabilities is not None:
        one = classes[0]
        curve = points(other.truth == one, other.probabilities[:, one], other.weights)
        axes.plot(*curve, label="baseline", linestyle="--", color="grey")
    axes.legend(fontsize=8)
    return True


def _calibration(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    drawn = False
    axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1)
    for name, said, style in (("model", candidate, "o-"), ("baseline", baseline, "s--")):
        answers = None if said is None else _classes(said)
        if answers is None or answers.probabilities is None:
            continue
        given = answers.probabilities.astype(np.float64)
        right, sure, weight = calibration.bins(answers.truth, answers.predicted, given, answers.weights)
        there = weight > 0
        axes.plot(sure[there] / weight[there], right[there] / weight[there], style, label=name)
        drawn = True
    axes.set(title="Calibration", xlabel="how sure the model is", ylabel="how often it is right")
    if drawn:
        axes.legend(fontsize=8)
    return drawn


def _residuals(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    answers = candidate.answers
    if not isinstance(answers, Predicted):
        return False
    for name, said in (("model", candidate), ("baseline", baseline)):
        if said is not None and isinstance(said.answers, Predicted):
            residuals = (said.answers.predicted - said.answers.truth).ravel()
            axes.hist(residuals, bins=_BINS, histtype="step", label=name, linestyle="-" if name == "model" else "--")
    axes.set(title="Residuals", xlabel="predicted - true", ylabel="rows")
    axes.legend(fontsize=8)
    return True


def _against_truth(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    """How many rows are where, and not the rows themselves."""
    answers = candidate.answers
    if not isinstance(answers, Predicted):
        return False
    axes.hexbin(
        answers.truth.ravel(), answers.predicted.ravel(), gridsize=_DOTS // 3, mincnt=1, bins="log", cmap="Blues"
    )
    ends = [float(answers.truth.min()), float(answers.truth.max())]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.set(title="Predicted and true", xlabel="true", ylabel="predicted")
    return True


def _slices(axes: Any, candidate: Said, baseline: Said | None, found: Judgement) -> bool:
    """The first metric of the task, of each slice."""
    measured = found.measured[1 : _MOST_SLICES + 1]
    if not measured:
        return False
    name = next(iter(found.whole.metrics))
    places = np.arange(len(measured))
    axes.barh(places, [one.metrics[name] for one in measured], height=0.6, label="model")
    if found.whole.baseline is not None:
        others = [(one.baseline or {}).get(name, np.nan) for one in measured]
        axes.plot(others, places, "k|", markersize=12, label="baseline")
    axes.axvline(found.whole.metrics[name], color="grey", linewidth=1, linestyle="--", label="all rows")
    axes.set_yticks(places, [plain(one.slice) for one in measured], fontsize=7)
    axes.invert_yaxis()
    axes.set(title=f"{name} of each slice", xlabel=name)
    axes.legend(fontsize=8)
    return True


def _classes(said: Said) -> Classified | None:
    return said.answers if isinstance(said.answers, Classified) else None


_OF_TASK: dict[Task, Sequence[tuple[str, Draw]]] = {
    Task.CLASSIFICATION: (
        ("confusion_matrix", _confusion),
        ("roc", _roc),
        ("precision_recall", _precision_recall),
        ("calibration", _calibration),
    ),
    Task.REGRESSION: (("residuals", _residuals), ("predicted", _against_truth)),
}
