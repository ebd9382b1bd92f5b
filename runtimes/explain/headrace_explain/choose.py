"""Which method fits a model's inputs: where nobody has named one."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from headrace_explain.kind import DType, Method, NotExplainable

# Up to so many values a row are taken for columns of a table: each by itself means something.
MOST_COLUMNS = 64


def choose(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, DType], *, differentiable: bool) -> Method:
    """`shapes` are those of a row, without the batch. SHAPLEY for the columns of a table; for pictures, sequences and
    long vectors INTEGRATED_GRADIENTS where the artifact has gradients, else OCCLUSION; OCCLUSION for tokens. Raises
    NotExplainable.
    """
    if not shapes:
        raise NotExplainable("the model has no input")
    texts = [name for name, dtype in dtypes.items() if is_text(dtype)]
    numbers = [dtype for name, dtype in dtypes.items() if name not in texts]
    if not numbers:
        raise NotExplainable(text_refusal(texts))
    if is_table(shapes, dtypes):
        return Method.SHAPLEY
    if texts:
        raise NotExplainable(text_refusal(texts))
    if differentiable and all(dtype.kind == "f" for dtype in numbers):
        return Method.INTEGRATED_GRADIENTS
    return Method.OCCLUSION


def is_table(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, DType]) -> bool:
    """Columns: rows of numbers of different meanings, and not the same thing at many places. A text is one only where
    it has a value a row.
    """
    return (
        sum(prod(shape) for shape in shapes.values()) <= MOST_COLUMNS
        and all(len(shape) <= 1 for shape in shapes.values())
        and not any(are_tokens(shapes[name], dtype) for name, dtype in dtypes.items())
        and all(prod(shapes[name]) == 1 for name, dtype in dtypes.items() if is_text(dtype))
    )


def are_tokens(shape: tuple[int, ...], dtype: DType) -> bool:
    """A row of whole numbers: words of a text, by their numbers in a vocabulary."""
    return dtype.kind in "iu" and len(shape) == 1 and shape[0] > 1


def is_text(dtype: DType) -> bool:
    return dtype.kind in "OSU"


def text_refusal(names: list[str]) -> str:
    return (
        f"the input {', '.join(names)} takes texts, of which no part can be left out or put in by halves: explain a "
        "model that takes tokens as whole numbers, or columns beside the text"
    )
