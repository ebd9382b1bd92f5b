"""Pictures of what was explained: bars of columns, pictures with what matters in them, strips of tokens.

Red adds to the number that is explained, blue takes away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from headrace_explain.kind import Explanation
from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.explaining.features import Feature, beside_one_another
from headrace_trainer.evaluation.explaining.importance import Importance
from headrace_trainer.evaluation.explaining.run import Explained
from headrace_trainer.evaluation.files.pictures import plain, save

matplotlib.use("Agg")
from matplotlib import pyplot

_ROWS = 8
_BARS = 8
_COLUMNS = 20
_TOKENS = 40
_CHANNELS = 4
_ADDS, _TAKES = "#c0392b", "#2e6da4"


@dataclass(frozen=True)
class _Shape:
    """How the rows stand: so many beside one another, in so many inches, of so much height each."""

    columns: int
    width: float
    height: float


def draw(folder: Path, found: Explained) -> list[str]:
    """Writes what there is to show, and gives the names of those that show no row: the card may have them."""
    drawn = []
    if found.importance is not None and len(found.importance.features):
        _one(folder / "importance.png", (7, 5), lambda figure: _importance(figure, found.importance))
        drawn.append("importance.png")
    if (of := found.of) is not None:
        count, shape = min(of.rows, _ROWS), _shape(found, of)
        size = (shape.width, shape.height * ceil(count / shape.columns))
        _one(folder / "explanations.png", size, lambda figure: _rows(figure, found, of, count, shape.columns))
    return drawn


def _one(path: Path, size: tuple[float, float], of: Callable[[Any], None]) -> None:
    figure = pyplot.figure(figsize=size, dpi=110)
    try:
        of(figure)
        save(figure, path)
    finally:
        pyplot.close(figure)


def _importance(figure: Any, found: Importance | None) -> None:
    if found is None:
        return
    axes = figure.add_subplot()
    order = np.argsort(-found.mean, kind="stable")[:_COLUMNS]
    places = np.arange(len(order))
    axes.barh(places, found.mean[order], xerr=found.deviation[order], color=_ADDS, height=0.6)
    axes.set_yticks(places, [plain(found.features[one].name) for one in order], fontsize=8)
    axes.invert_yaxis()
    axes.set(title="Columns that matter", xlabel=f"by how much {found.metric} gets worse without it")


def _shape(found: Explained, of: Explanation) -> _Shape:
    if found.features:
        return _Shape(2, 10, 2.4)
    return _Shape(4, 10, 2.8) if of.attributions[_largest(of)][0].ndim > 1 else _Shape(1, 9, 1.2)


def _largest(of: Explanation) -> str:
    """Of several inputs the one with the most values: it is shown."""
    return max(of.attributions, key=lambda one: of.attributions[one][0].size)


def _rows(figure: Any, found: Explained, of: Explanation, count: int, columns: int) -> None:
    whole = beside_one_another(of.attributions) if found.features else None
    for place in range(count):
        axes = figure.add_subplot(ceil(count / columns), columns, place + 1)
        axes.set_title(_title(found, of, place), fontsize=8)
        if whole is not None:
            _bars(axes, found.features, whole[place], _values(found, place))
        else:
            _array(axes, found, of, place)


def _title(found: Explained, of: Explanation, place: int) -> str:
    name = found.model.name_of(int(of.target[place]))
    said = f"{name}: " if name else ""
    return plain(f"row {found.chosen[place].row}, {said}{of.prediction[place]:.3g}")


def _values(found: Explained, place: int) -> list[str] | None:
    """What each value of a table's row was; None where they are not to be shown."""
    if not found.wanted.values or found.feed is None:
        return None
    return [_short(value) for values in found.feed.values() for value in np.ravel(values[place])]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float | np.number) else str(value)[:12]


def _bars(axes: Any, features: tuple[Feature, ...], attributions: Array, values: list[str] | None) -> None:
    order = np.argsort(-np.abs(attributions), kind="stable")[:_BARS]
    places = np.arange(len(order))
    axes.barh(places, attributions[order], color=[_ADDS if attributions[one] > 0 else _TAKES for one in order])
    names = [features[one].name if values is None else f"{features[one].name} = {values[one]}" for one in order]
    axes.set_yticks(places, [plain(name) for name in names], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.axvline(0, color="grey", linewidth=1)
    axes.invert_yaxis()


def _array(axes: Any, found: Explained, of: Explanation, place: int) -> None:
    name = _largest(of)
    heat = of.attributions[name][place]
    values = found.feed[name][place] if found.wanted.values and found.feed is not None else None
    if heat.ndim < 2:
        _strip(axes, np.atleast_1d(heat), None if values is None else np.atleast_1d(values))
    else:
        _picture(axes, heat, values)
    axes.set_xlabel(plain(name), fontsize=7)
    axes.tick_params(axis="x", labelsize=7)


def _strip(axes: Any, heat: Array, values: Array | None) -> None:
    axes.imshow(heat[None], aspect="auto", cmap="RdBu_r", **_around_zero(heat))
    axes.set_yticks([])
    if values is not None and len(heat) <= _TOKENS:
        for place, value in enumerate(values):
            is_dark = abs(heat[place]) > np.abs(heat).max() / 2
            colour = "white" if is_dark else "black"
            axes.text(place, 0, _short(value), ha="center", va="center", fontsize=7, color=colour)


def _picture(axes: Any, heat: Array, values: Array | None) -> None:
    flat = _flat(heat)
    if values is not None:
        axes.imshow(_flat(np.asarray(values, dtype=np.float64)), cmap="gray")
    limits = _around_zero(flat)
    # What matters little lets the picture through.
    axes.imshow(flat, cmap="RdBu_r", alpha=1.0 if values is None else 0.8 * np.abs(flat) / limits["vmax"], **limits)
    axes.set_xticks([])
    axes.set_yticks([])


def _flat(values: Array) -> Array:
    """Rows and columns: colours, and all that is beyond two dimensions, are added up."""
    if values.ndim > 2 and values.shape[0] <= _CHANNELS < values.shape[-1]:
        values = np.moveaxis(values, 0, -1)
    return np.asarray(values.reshape(values.shape[0], values.shape[1], -1).sum(axis=-1))


def _around_zero(heat: Array) -> dict[str, float]:
    most = float(np.abs(heat).max()) or 1.0
    return {"vmin": -most, "vmax": most}
