"""Whether an exported model computes what Keras computes: as numpy's allclose, relative to the size of the outputs and
to the precision that the model computes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]

# Some hundred steps of float32, some ten of the short ones: what another order of the same sums may change.
_TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
# Of outputs that are smaller than this, what is left may be the rounding of numbers around 1.
_SMALLEST_SCALE = 1e-3


def tolerance_of(dtypes: Iterable[str]) -> float:
    """The tolerance of a model that computes in these types: that of the least precise one."""
    return max((_TOLERANCES[name] for name in dtypes if name in _TOLERANCES), default=_TOLERANCES["float32"])


def difference(
    expected: Outputs, computed: Outputs, tolerance: float, *, ignored: frozenset[str] = frozenset()
) -> str | None:
    """What differs, in words; None where nothing does. Of the `ignored` outputs only names, shapes and types count."""
    found = shape_difference(expected, computed)
    if found is not None:
        return found
    for name, values in expected.items():
        found = None if name in ignored else _difference(values, computed[name], tolerance)
        if found is not None:
            return f"{name} {found}"
    return None


def differing(one: Outputs, other: Outputs, tolerance: float) -> frozenset[str]:
    """The outputs of two calls of the same model that are not the same."""
    return frozenset(
        name
        for name, values in one.items()
        if values.shape != other[name].shape or _difference(values, other[name], tolerance) is not None
    )


def _difference(expected: Array, computed: Array, tolerance: float) -> str | None:
    is_number = np.issubdtype(expected.dtype, np.number) or expected.dtype.name == "bfloat16"
    is_float = is_number and not np.issubdtype(expected.dtype, np.integer)
    compare = _floats if is_float else _discrete
    return compare(expected, computed, tolerance)


def shape_difference(expected: Outputs, computed: Outputs) -> str | None:
    """What differs in names, shapes and types."""
    if expected.keys() != computed.keys():
        return f"its outputs are {', '.join(sorted(computed))}, not {', '.join(sorted(expected))}"
    for name, values in expected.items():
        other = computed[name]
        if other.shape != values.shape or other.dtype != values.dtype:
            return f"{name} is {other.dtype.name} {list(other.shape)}, not {values.dtype.name} {list(values.shape)}"
    return None


def _floats(expected: Array, computed: Array, tolerance: float) -> str | None:
    one, other = expected.astype("float64"), computed.astype("float64")
    finite = np.isfinite(one) & np.isfinite(other)
    # Infinities and what is not a number have to be the same and in the same places.
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return f"is {other[~finite].flat[0]} where Keras computes {one[~finite].flat[0]}"
    one, other = one[finite], other[finite]
    if not one.size:
        return None
    scale = max(float(np.sqrt(np.mean(np.square(one)))), _SMALLEST_SCALE)
    if np.allclose(other, one, rtol=tolerance, atol=tolerance * scale):
        return None
    return f"differs by {np.max(np.abs(one - other)):.3g}, where its values are about {scale:.3g}"


def _discrete(expected: Array, computed: Array, tolerance: float) -> str | None:
    """Whole numbers, truth values and texts are equal, but for the few that rounding may tip over a threshold."""
    different = int(np.sum(expected != computed))
    if different <= tolerance * expected.size:
        return None
    return f"differs in {different} of {expected.size} values"
