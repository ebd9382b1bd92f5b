"""Scalar types of the API: durations, decimals, times, names, bounded text. No floats: a decimal is a string."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from headrace.api.base import Rule, Schema, matching

DURATION_PATTERN = r"^([0-9]{1,5}(ms|s|m|h)){1,4}$"
DECIMAL_PATTERN = r"^-?[0-9]{1,15}([.][0-9]{1,15})?$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
METRIC_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.: -]*(/[A-Za-z0-9_][A-Za-z0-9_.: -]*)*$"
REASON_PATTERN = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def text_of(value: Any) -> Any:
    """A whole number where a text is wanted is meant as the text that it was written as."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


TextOrNumber = Annotated[str, BeforeValidator(text_of), Schema(**{"x-kubernetes-int-or-string": True})]
"""A text; a whole number needs no quotes. Fractions, true and false do: a schema has no other union."""


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as 250ms, 30s, 5m or 1h30m."""
    if isinstance(value, timedelta):
        return value
    # Read are more digits than a person may write: hours that are added up have more.
    if not isinstance(value, str) or not re.fullmatch(r"([0-9]{1,9}(ms|s|m|h)){1,4}", value):
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
    Schema(
        type="string",
        maxLength=32,
        rules=(matching(DURATION_PATTERN, "must be a duration such as 250ms, 30s, 5m or 1h30m"),),
    ),
]

DecimalString = Annotated[
    Decimal,
    BeforeValidator(parse_decimal),
    PlainSerializer(format_decimal, return_type=str),
    Schema(
        type="string",
        maxLength=32,
        rules=(matching(DECIMAL_PATTERN, 'must be a decimal in quotes, such as "0.99"'),),
    ),
]

Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    Schema(type="string", format="date-time"),
]


def duration_between(shortest: str, longest: str) -> Rule:
    """Bounds of a duration. All rules of a field are run, so this one has to stand what is no duration."""
    return Rule(
        f"!self.matches(r'{DURATION_PATTERN}') || "
        f"(duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}'))",
        f"must be a duration from {shortest} to {longest}",
    )


def decimal_between(low: str, high: str) -> Rule:
    """Bounds of a decimal string; stands what is none."""
    return Rule(
        f"!self.matches(r'{DECIMAL_PATTERN}') || (double(self) >= {float(low)} && double(self) <= {float(high)})",
        f"must be from {low} to {high}",
    )


Label = Annotated[
    str,
    Schema(
        minLength=1,
        maxLength=63,
        rules=(matching(LABEL_PATTERN, "must be lower-case letters, digits and dashes, such as text-generator"),),
    ),
]
"""A DNS-1123 label."""

Subdomain = Annotated[
    str,
    Schema(
        minLength=1,
        maxLength=253,
        rules=(matching(SUBDOMAIN_PATTERN, "must be a name: lower-case letters, digits, dashes and dots"),),
    ),
]
"""The name of a Secret, ConfigMap or service account."""

MetricName = Annotated[
    str,
    Schema(
        minLength=1,
        maxLength=128,
        rules=(
            matching(
                METRIC_PATTERN,
                "must be a name as it stands in the run: letters, digits, _ . - : / and spaces, such as val_accuracy; "
                "every other character is written as _ there (recall@5 is recall_5)",
            ),
        ),
    ),
]
"""A metric of a run. The launcher writes names by the same rule (launcher/metric_keys.py), so all can be named."""

ImageReference = Annotated[
    str, Schema(maxLength=512, rules=(matching(r"^\S*$", "must be an image reference, without spaces"),))
]

Alias = Annotated[
    str,
    Schema(
        maxLength=63,
        rules=(
            matching(
                r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
                "must be lower-case letters, digits and dashes, beginning with a letter, such as candidate",
            ),
            Rule(
                "self != 'latest' && !self.matches('^v[0-9]+$')",
                "latest, v1, v2 and so on are reserved by MLflow: choose another alias, such as candidate",
            ),
        ),
    ),
]
"""A registry alias."""

Sha256 = Annotated[
    str,
    Schema(
        maxLength=64,
        rules=(matching("^[0-9a-f]{64}$", "must be 64 hex digits in lower case, as sha256sum prints them"),),
    ),
]

S3_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+$"
S3URI = Annotated[str, Schema(maxLength=1024, rules=(matching(S3_PATTERN, "must be like s3://BUCKET/KEY"),))]


DATA_PATTERN = "|".join(
    (
        S3_PATTERN,
        r"^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/\S+$",
        r"^az://[a-z0-9$][a-z0-9-]{1,61}[a-z0-9]/\S+$",
        r"^s?webhdfs://[^\s/@?#:\[\]]+:[0-9]{1,5}/[^\s?#]+$",
        r"^https://[^\s/@?#]+/[^\s#]+$",
    )
)
DataURI = Annotated[
    str,
    Schema(
        maxLength=1024,
        rules=(
            matching(
                DATA_PATTERN,
                "must be like s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY, webhdfs://HOST:HTTP-PORT/PATH or "
                "https://HOST/FILE, without a user or password in it",
            ),
        ),
    ),
]
"""Where a dataset is downloaded from."""

Word = Annotated[str, Schema(maxLength=128)]
Cell = Annotated[str, Schema(maxLength=80)]
Name = Annotated[str, Schema(maxLength=253)]
Line = Annotated[str, Schema(maxLength=1024)]
Message = Annotated[str, Schema(maxLength=4096)]
Reason = Annotated[str, Schema(pattern=REASON_PATTERN, maxLength=128)]
MetricValue = Annotated[str, Schema(maxLength=40)]
"""A measured value: a decimal string, NaN or Infinity (a loss may well be)."""

Count = Annotated[int, Schema(minimum=0, format="int64")]
