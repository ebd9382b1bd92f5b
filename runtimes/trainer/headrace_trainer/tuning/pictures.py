"""Pictures of all trials: the objective over the trials, their parameters beside it, and which of these matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from headrace_common.protocol.trials import Trial, TrialState, is_better
from headrace_common.protocol.tuning import Dimension, Kind, Tuning

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator


def draw(folder: Path, tuning: Tuning, trials: Sequence[Trial], importance: Mapping[str, float] | None) -> None:
    """Writes what there is to show."""
    ended = [trial for trial in trials if trial.state is TrialState.SUCCEEDED and trial.value is not None]
    if not ended:
        return
    pictures: dict[str, Callable[[Any], None]] = {
        "history": lambda axes: _history(axes, tuning, ended),
        "parallel": lambda axes: _parallel(axes, tuning, ended),
    }
    if importance is not None:
        pictures["importance"] = lambda axes: _importance(axes, importance)
    for name, of in pictures.items():
        figure, axes = pyplot.subplots(figsize=(max(7, 1.4 * len(tuning.space)), 5), dpi=110)
        try:
            of(axes)
            figure.tight_layout()
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        finally:
            pyplot.close(figure)


def _plain(text: str) -> str:
    """Not read as a formula."""
    return text[:30].replace("$", r"\$")


def _history(axes: Any, tuning: Tuning, ended: Sequence[Trial]) -> None:
    ended = sorted(ended, key=lambda one: one.number)
    numbers, values = [one.number for one in ended], [float(one.value or 0) for one in ended]
    best = [values[0]]
    for value in values[1:]:
        best.append(value if is_better(tuning.goal, value, best[-1]) else best[-1])
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    axes.set(title=_plain(tuning.metric), xlabel="trial", ylabel=_plain(tuning.metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)


def _parallel(axes: Any, tuning: Tuning, ended: Sequence[Trial]) -> None:
    """One line a trial; the colour is the objective's, as is the axis on the right."""
    values = np.array([float(one.value or 0) for one in ended])
    spread = values.max() - values.min()
    shares = (values - values.min()) / spread if spread else np.full(len(values), 0.5)
    places = range(len(tuning.space) + 1)
    for trial, share in sorted(zip(ended, shares, strict=True), key=lambda pair: float(pair[1])):
        line = [_place(one, trial.parameters[one.name]) for one in tuning.space if one.name in trial.parameters]
        if len(line) == len(tuning.space):
            axes.plot(places, [*line, share], color=matplotlib.colormaps["viridis"](share), alpha=0.7)
    axes.set_xticks(places, [*(_label(one) for one in tuning.space), _plain(tuning.metric)], fontsize=8)
    axes.set_yticks([])
    axes.text(places[-1], 1.02, f"{values.max():.4g}", ha="center", fontsize=8)
    axes.text(places[-1], -0.05, f"{values.min():.4g}", ha="center", fontsize=8)
    axes.set_title("Trials")


def _place(dimension: Dimension, value: object) -> float:
    if dimension.kind is Kind.CATEGORICAL:
        return dimension.values.index(str(value)) / max(1, len(dimension.values) - 1)
    low, high, at = dimension.low, dimension.high, float(value)  # type: ignore[arg-type]
    if dimension.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low)) if high > low else 0.5


def _label(dimension: Dimension) -> str:
    if dimension.kind is Kind.CATEGORICAL:
        ends = f"{dimension.values[0]} ... {dimension.values[-1]}"
    else:
        ends = f"{dimension.low:g} ... {dimension.high:g}" + (" (log)" if dimension.log else "")
    return f"{_plain(dimension.name)}\n{_plain(ends)}"


def _importance(axes: Any, importance: Mapping[str, float]) -> None:
    names = sorted(importance, key=lambda name: importance[name])
    axes.barh([_plain(name) for name in names], [importance[name] for name in names])
    axes.set(title="Which parameters matter", xlabel="share of the differences")
