"""Shapes of tensors with free dimensions, and which sizes to give those when an input is made up for the warm-up.

What values it gets, and what an answer to it means, is each server's own: its warmup.py.
"""

from __future__ import annotations

from collections.abc import Iterable

Shape = tuple[int, ...]

# A dimension that may have any size.
DYNAMIC = -1

SIZES_TO_TRY = (1, 2, 8, 32, 64, 128, 224, 256)


def has_free_rows(shape: Shape) -> bool:
    return bool(shape) and shape[0] == DYNAMIC


def sizes_to_try(shapes: Iterable[Shape]) -> tuple[int, ...]:
    """For the free dimensions of a model's inputs, but for its rows: one size where there are no others."""
    has_other = any(DYNAMIC in (shape[1:] if has_free_rows(shape) else shape) for shape in shapes)
    return SIZES_TO_TRY if has_other else SIZES_TO_TRY[:1]


def one_row(shape: Shape, size: int) -> Shape:
    """`shape` with one row, and `size` for all other free dimensions."""
    filled = tuple(size if length == DYNAMIC else length for length in shape)
    return (1, *filled[1:]) if has_free_rows(shape) else filled
