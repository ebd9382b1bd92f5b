"""What the values of a column are: texts become numbers, true and false, and times, where all of them are such.

A declared column is parsed as it is declared (`parse`). Another one of a CSV file becomes Integer, Number or Boolean
where every value is written as such a value is (`infer`): 007 and 1e999 are texts, and so is a date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from headrace_common.protocol.tables import ColumnType

_INTEGER = r"^\s*[+-]?[0-9]{1,19}\s*$"
# Of 64 bits, by their digits; numbers of fewer digits always fit.
_LARGEST, _SMALLEST, _MOST_DIGITS = str(2**63 - 1), str(2**63), 19
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
_NAN = r"^\s*[nN][aA][nN]\s*$"
_BOOLEAN = r"^\s*([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|0|1)\s*$"
_TRUE = r"^\s*([tT][rR][uU][eE]|1)\s*$"
_OWN_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
# A number of more digits would not be the same as one of 64 bits.
_OWN_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
# Up to here each whole number is one of the floats.
_EXACT = 2**53
_OWN_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"
TIME = pa.timestamp("us", "UTC")
Array: TypeAlias = pa.ChunkedArray
_PLAIN = (
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_float16, pa.float32()),
)


@dataclass(frozen=True)
class Parsed:
    """`bad` are the rows whose value is none of the type; it is missing in `values` then."""

    values: Array
    bad: tuple[int, ...]


def parse(column: Array, kind: ColumnType) -> Parsed:
    """The column as `kind` has it. Times without a zone are UTC."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = _OF_TEXT[kind](column)
    else:
        values = _OF_VALUES[kind](column)
    lost = pc.and_(pc.is_valid(column), pc.is_null(values))
    if pa.types.is_floating(column.type):
        lost = pc.and_(lost, pc.invert(pc.is_nan(column)))
    elif kind is ColumnType.NUMBER and _is_text(column):
        lost = pc.and_(lost, pc.invert(pc.fill_null(pc.match_substring_regex(column, _NAN), False)))
    return Parsed(values, rows_of(lost))


def infer(column: Array) -> Array:
    """A column of texts, as what all of its values are; one without values stays one of texts."""
    if column.null_count == len(column):
        return column
    for pattern, kind in ((_OWN_INTEGER, ColumnType.INTEGER), (_OWN_NUMBER, ColumnType.NUMBER)):
        if _all_match(column, pattern):
            return _OF_TEXT[kind](column)
    return _OF_TEXT[ColumnType.BOOLEAN](column) if _all_match(column, _OWN_BOOLEAN) else column


def from_json(values: list[Any]) -> pa.Array:
    """Values of JSON as one column: of one type where they have one, else as texts."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values))
    large = any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values)
    if kinds == {int} and not large:
        return pa.array(values, pa.int64())
    if kinds in ({float}, {int, float}) and not any(isinstance(value, int) and abs(value) > _EXACT for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([None if value is None else _as_written(value) for value in values], pa.string())


def plain(column: Array) -> Array:
    """The same values as a type that all that follows knows: of an extension what it is kept as, of a UUID its text."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        values = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    if isinstance(kind, pa.BaseExtensionType):
        return plain(column.cast(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    for is_so, other in _PLAIN:
        if is_so(kind):
            return column.cast(other)
    return column


def texts(column: Array) -> Array:
    """Values as the texts that are hashed, and looked at: the same for the same value in each table."""
    if _is_text(column):
        return column.cast(pa.string())
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "true", "false")
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        return _utc(column)
    if pa.types.is_floating(column.type):  # 3.0 is 3, as in a table where no value is missing
        return pa.chunked_array([pa.array([_number(one) for one in column.to_pylist()], pa.string())])
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return pa.chunked_array([pa.array([None if one is None else repr(one) for one in column.to_pylist()])])
    return column.cast(pa.string())


def rows_of(mask: Array) -> tuple[int, ...]:
    """The numbers of the rows where it is true, from 0."""
    found = pc.indices_nonzero(pc.fill_null(mask, False))
    return tuple(found.to_pylist())


def name_of(kind: pa.DataType) -> str:
    """For people."""
    for is_so, word in (
        (pa.types.is_integer, ColumnType.INTEGER),
        (pa.types.is_floating, ColumnType.NUMBER),
        (pa.types.is_boolean, ColumnType.BOOLEAN),
        (pa.types.is_timestamp, ColumnType.TIMESTAMP),
        (pa.types.is_string, ColumnType.TEXT),
        (pa.types.is_large_string, ColumnType.TEXT),
    ):
        if is_so(kind):
            return str(word)
    return str(kind)


def _is_text(column: Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _all_match(column: Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _utc(column: Array) -> Array:
    """In one zone, without which one moment would be several texts; and by hand, since Arrow asks the system for its
    zones, which an image need not have.
    """
    moments = column.cast(pa.timestamp(column.type.unit)).cast(pa.string())
    return pc.binary_join_element_wise(moments, "Z", "")


def _as_written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: float | None) -> str | None:
    if value is None or value != value:  # NaN
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _where(column: Array, pattern: str) -> Array:
    """The trimmed texts that match; what does not is missing."""
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.fill_null(pc.match_substring_regex(column, pattern), False), trimmed, None)


def _unsigned_plus(column: Array) -> Array:
    return pc.replace_substring_regex(column, r"^\+", "")


def _integers_of_text(column: Array) -> Array:
    written = _unsigned_plus(_where(column, _INTEGER)).cast(pa.string())
    digits = pc.replace_substring(written, "-", "")
    most = pc.if_else(pc.starts_with(written, "-"), _SMALLEST, _LARGEST)
    fits = pc.or_(pc.less(pc.utf8_length(digits), _MOST_DIGITS), pc.less_equal(digits, most))
    return pc.if_else(fits, written, None).cast(pa.int64())


def _numbers_of_text(column: Array) -> Array:
    return _finite(_unsigned_plus(_where(column, _NUMBER)).cast(pa.float64()))


def _booleans_of_text(column: Array) -> Array:
    return pc.match_substring_regex(_where(column, _BOOLEAN), _TRUE)


def _times_of_text(column: Array) -> Array:
    parsed = pd.to_datetime(column.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    moments = parsed.dt.tz_localize(None).to_numpy("datetime64[us]")
    return pa.chunked_array([pa.array(moments, pa.timestamp("us"))]).cast(TIME)


def _finite(column: Array) -> Array:
    return pc.if_else(pc.is_finite(column), column, None)


def _integers(column: Array) -> Array:
    if pa.types.is_uint64(column.type):
        column = pc.if_else(pc.less(column, pa.scalar(2**63, pa.uint64())), column, None)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        whole = pc.and_(pc.is_finite(column), pc.less(pc.abs(column), 2.0**53))
        whole = pc.and_(whole, pc.equal(pc.floor(column), column))
        return pc.if_else(pc.fill_null(whole, False), column, None).cast(pa.int64())
    return _none(column, pa.int64())


def _numbers(column: Array) -> Array:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type):
        return _finite(column.cast(pa.float64(), safe=False))
    return _none(column, pa.float64())


def _booleans(column: Array) -> Array:
    return column if pa.types.is_boolean(column.type) else _none(column, pa.bool_())


def _times(column: Array) -> Array:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        return column.cast(TIME, safe=False)
    if (
        pa.types.is_temporal(column.type)
        and not pa.types.is_time(column.type)
        and not pa.types.is_duration(column.type)
    ):
        return column.cast(pa.timestamp("us"), safe=False).cast(TIME)
    return _none(column, TIME)


def _none(column: Array, kind: pa.DataType) -> Array:
    return pa.chunked_array([pa.nulls(len(column), kind)])


_OF_TEXT: Mapping[ColumnType, Callable[[Array], Array]] = {
    ColumnType.INTEGER: _integers_of_text,
    ColumnType.NUMBER: _numbers_of_text,
    ColumnType.BOOLEAN: _booleans_of_text,
    ColumnType.TIMESTAMP: _times_of_text,
    ColumnType.TEXT: lambda column: column,
}
_OF_VALUES: Mapping[ColumnType, Callable[[Array], Array]] = {
    ColumnType.INTEGER: _integers,
    ColumnType.NUMBER: _numbers,
    ColumnType.BOOLEAN: _booleans,
    ColumnType.TIMESTAMP: _times,
    ColumnType.TEXT: lambda column: _none(column, pa.string()),
}
