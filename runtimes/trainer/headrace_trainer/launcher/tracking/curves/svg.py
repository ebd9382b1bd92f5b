"""Curves as an SVG picture, by hand (pure): the launcher has no plotting library.

The same values give the same bytes. Values that are not finite are gaps, and are counted in a line below the title.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

MOST_POINTS = 500
_SMALLEST = 1e-290  # below it there are too few digits to divide by
_LARGEST = 1e300  # a SQL store keeps infinity as the largest float; and the difference of two has to be finite
_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 60, 60
_MIDDLE = (_LEFT + _WIDTH - _RIGHT) / 2
_TICKS = 6
_FEW = 30  # so many points have a mark each
_COLORS = ("#1f77b4", "#d95f02")
_LONGEST = 60  # characters of a text

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One curve: its name in the legend, and its points with growing x, which is finite."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` as pixels, and where the ticks are."""

    low: float
    high: float
    first_pixel: float
    last_pixel: float
    ticks: Sequence[float]

    def pixel(self, value: float) -> float:
        return self.first_pixel + (value - self.low) / (self.high - self.low) * (self.last_pixel - self.first_pixel)


def draw(title: str, x_label: str, series: Sequence[Series]) -> str:
    """The picture; at most MOST_POINTS of each of at most two series are drawn."""
    thinned = [Series(one.label, _thinned(one.points)) for one in series]
    finite = [point for one in thinned for point in one.points if _is_finite(point[1])]
    x = _axis([point[0] for point in finite], _LEFT, _WIDTH - _RIGHT, is_whole=True)
    y = _axis([point[1] for point in finite], _HEIGHT - _BOTTOM, _TOP, is_whole=False)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        ' font-family="sans-serif" font-size="12" fill="#333">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16">{_text(title)}</text>',
        *_grid(x, y),
        f'<text x="{_MIDDLE:.0f}" y="{_HEIGHT - 16}" text-anchor="middle">{_text(x_label)}</text>',
    ]
    for index, (one, color) in enumerate(zip(thinned, _COLORS, strict=False)):
        parts += _curve(one, color, x, y)
        if len(series) > 1:  # the title says it of one
            parts += _legend(one.label, color, index)
    if note := _note(series):
        parts.append(f'<text x="{_LEFT}" y="46" fill="#b00">{_text(note)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float, *, is_whole: bool) -> list[float]:
    """About six round numbers (1, 2 or 5 times a power of ten apart) between the two; whole ones where asked for."""
    step = _step(high - low)
    if is_whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)][: 2 * _TICKS]


def _step(span: float) -> float:
    rough = span / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough), 10 * power)


def _axis(values: Sequence[float], first_pixel: float, last_pixel: float, *, is_whole: bool) -> _Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _SMALLEST):  # one value: it is in the middle
        margin = abs(low) / 10 if abs(low) > 10 * _SMALLEST else 1.0
        low, high = low - margin, high + margin
    return _Axis(low, high, first_pixel, last_pixel, ticks(low, high, is_whole=is_whole))


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    for tick, label in zip(y.ticks, _labels(y.ticks), strict=True):
        at = f"{y.pixel(tick):.1f}"
        yield f'<line x1="{left}" y1="{at}" x2="{right}" y2="{at}" stroke="#e5e5e5"/>'
        yield f'<text x="{left - 8}" y="{at}" dy="4" text-anchor="end">{label}</text>'
    for tick, label in zip(x.ticks, _labels(x.ticks), strict=True):
        at = f"{x.pixel(tick):.1f}"
        yield f'<line x1="{at}" y1="{bottom}" x2="{at}" y2="{bottom + 5}" stroke="#333"/>'
        yield f'<text x="{at}" y="{bottom + 20}" text-anchor="middle">{label}</text>'
    yield f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333"/>'


def _labels(values: Sequence[float]) -> list[str]:
    """With as many digits as tell neighbours apart."""
    distance = min((b - a for a, b in pairwise(values)), default=0.0)
    largest = max((abs(value) for value in values), default=0.0)
    if not largest or not distance:
        return [f"{value:g}" for value in values]
    if distance >= 1e-4 and largest < 1e7:
        decimals = max(0, -math.floor(math.log10(distance) + 1e-9))
        return [f"{value:.{decimals}f}" for value in values]
    digits = min(15, max(0, math.floor(math.log10(largest)) - math.floor(math.log10(distance) + 1e-9)))
    return [f"{value:.{digits}e}" if value else "0" for value in values]


def _curve(series: Series, color: str, x: _Axis, y: _Axis) -> Iterator[str]:
    """A line for each stretch without a gap, and a mark for each point where there are few, or where one is alone."""
    is_short = len(series.points) <= _FEW
    for stretch in _stretches(series.points):
        pixels = [f"{x.pixel(across):.1f},{y.pixel(value):.1f}" for across, value in stretch]
        if len(pixels) > 1:
            line = f'fill="none" stroke="{color}" stroke-width="1.5" stroke-linejoin="round"'
            yield f'<polyline points="{" ".join(pixels)}" {line}/>'
        if is_short or len(pixels) == 1:
            for across, _, down in (pixel.partition(",") for pixel in pixels):
                yield f'<circle cx="{across}" cy="{down}" r="2.5" fill="{color}"/>'


def _stretches(points: Sequence[Point]) -> Iterator[list[Point]]:
    stretch: list[Point] = []
    for point in points:
        if _is_finite(point[1]):
            stretch.append(point)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _legend(label: str, color: str, index: int) -> Iterator[str]:
    down = 20 + 16 * index
    yield f'<line x1="{_WIDTH - 44}" y1="{down}" x2="{_WIDTH - _RIGHT}" y2="{down}" stroke="{color}" stroke-width="2"/>'
    yield f'<text x="{_WIDTH - 52}" y="{down}" dy="4" text-anchor="end">{_text(label)}</text>'


def _note(series: Sequence[Series]) -> str:
    counts = [(one.label, sum(not _is_finite(value) for _, value in one.points)) for one in series]
    told = [f"{count} of {label}" for label, count in counts if count]
    return f"not drawn, since NaN or infinite: {', '.join(told)}" if told else ""


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Evenly, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (MOST_POINTS - 1))] for index in range(MOST_POINTS)]


def _is_finite(value: float) -> bool:
    return abs(value) < _LARGEST  # not so of NaN


def _text(text: str) -> str:
    shown = "".join(character for character in text if character.isprintable())
    return escape(shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…")
