"""Whether a value is within the bounds of a gate, and how these are told (pure)."""

from __future__ import annotations

from decimal import Decimal

from headrace.api.scalars import format_decimal, parse_decimal


def is_within(value: float, least: Decimal | None, most: Decimal | None) -> bool:
    """Of a finite value, as it is written."""
    number = parse_decimal(repr(value))
    return (least is None or number >= least) and (most is None or number <= most)


def bounds_of(least: Decimal | None, most: Decimal | None) -> str:
    """In words; empty where there are none."""
    bounds = [f"at least {format_decimal(least)}"] if least is not None else []
    bounds += [f"at most {format_decimal(most)}"] if most is not None else []
    return " and ".join(bounds)
