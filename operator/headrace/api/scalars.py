"""Scalar types of the API: durations, decimals, times, names, bounded text. No floats: a decimal is a string."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from headrace.api.base import Rule, Schema

# A pattern that a CEL rule repeats has no backslash: CEL would read it as an escape.
DURATION_PATTERN = r"^([0-9]{1,5}(ms|s|m|h)){1,4}$"
DECIMAL_PATTERN = r"^-?[0-9]{1,15}([.][0-9]{1,15})?$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
METRIC_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:/ -]*$"
REASON_PATTERN = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as 250ms, 30s, 5m or 1h30m."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration such as 250ms, 30s, 5m or 1h30m")
    parts = re.findall(r"([0-9]+)(ms|s|m|h)", value)
    return timedelta(milliseconds=sum(int(count) * _UNITS_MS[unit] for count, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write a duration in whole milliseconds the short way: 90 s is 1m30s."""
    rest = value // timedelta(milliseconds=1)
    if rest < 0:
        raise ValueError(f"a duration cannot be negative: {value}")
    parts = []
    for unit in ("h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_decimal(value: Any) -> Decimal:
    """Read a decimal string such as 0.99."""
    if isinstance(value, Decimal):
        return value
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f'{value!r} is not a decimal string such as "0.99"') from error


def format_decimal(value: Decimal | float) -> str:
    """Write a number without an exponent and without trailing zeros; NaN and infinities by name."""
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number.is_finite():
        return str(number)
    digits = f"{number:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if digits == "-0" else digits


def parse_time(value: Any) -> Any:
    """Times are in UTC; one without a zone is taken as UTC."""
    parsed = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    if isinstance(parsed, datetime):
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return parsed


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC, with a fraction only where there is one."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Schema(type="string", pattern=DURATION_PATTERN, maxLength=32),
]

DecimalString = Annotated[
    Decimal,
    BeforeValidator(parse_decimal),
    PlainSerializer(format_decimal, return_type=str),
    Schema(type="string", pattern=DECIMAL_PATTERN, maxLength=32),
]

Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    Schema(type="string", format="date-time"),
]


def duration_between(shortest: str, longest: str) -> Rule:
    """Bounds of a duration. After a failed pattern CEL runs all the same, hence the guard."""
    return Rule(
        f"!self.matches('{DURATION_PATTERN}') || "
        f"(duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}'))",
        f"must be a duration from {shortest} to {longest}",
        reason="FieldValueInvalid",
    )


def decimal_between(low: str, high: str) -> Rule:
    """Bounds of a decimal string, guarded like a duration's."""
    return Rule(
        f"!self.matches('{DECIMAL_PATTERN}') || (double(self) >= {float(low)} && double(self) <= {float(high)})",
        f"must be from {low} to {high}",
        reason="FieldValueInvalid",
    )


Label = Annotated[str, Schema(pattern=LABEL_PATTERN, minLength=1, maxLength=63)]
"""A DNS-1123 label."""

Subdomain = Annotated[str, Schema(pattern=SUBDOMAIN_PATTERN, minLength=1, maxLength=253)]
"""The name of a Secret, ConfigMap or service account."""

MetricName = Annotated[str, Schema(pattern=METRIC_PATTERN, minLength=1, maxLength=128)]

ImageReference = Annotated[str, Schema(pattern=r"^\S*$", maxLength=512)]

Alias = Annotated[
    str,
    Schema(
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        maxLength=63,
        rules=(
            Rule(
                "self != 'latest' && !self.matches('^v[0-9]+$')",
                "latest, v1, v2 and so on are reserved by MLflow: choose another alias, such as candidate",
                reason="FieldValueInvalid",
            ),
        ),
    ),
]
"""A registry alias."""

S3_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+$"
S3URI = Annotated[str, Schema(pattern=S3_PATTERN, maxLength=1024)]


def shorten(value: Any, length: int) -> Any:
    """Cut a text to `length` characters, the end replaced by an ellipsis."""
    return value[: length - 1] + "…" if isinstance(value, str) and len(value) > length else value


def _shortener(length: int) -> BeforeValidator:
    return BeforeValidator(lambda value: shorten(value, length))


# A text in status is cut to its bound: a write that the API server refuses for its length would hide all the rest.
Word = Annotated[str, _shortener(128), Schema(maxLength=128)]
Cell = Annotated[str, _shortener(80), Schema(maxLength=80)]
Name = Annotated[str, _shortener(253), Schema(maxLength=253)]
Line = Annotated[str, _shortener(1024), Schema(maxLength=1024)]
Message = Annotated[str, _shortener(4096), Schema(maxLength=4096)]
Reason = Annotated[str, Schema(pattern=REASON_PATTERN, maxLength=128)]
MetricValue = Annotated[str, _shortener(40), Schema(maxLength=40)]
"""A measured value: a decimal string, NaN or Infinity (a loss may well be)."""

Count = Annotated[int, Schema(minimum=0, format="int64")]
