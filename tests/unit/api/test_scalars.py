"""Durations, decimals, times and bounded text: what is read, what is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.base import camel
from headrace.api.scalars import format_decimal, format_duration, format_time, parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("0s", 0), ("90m", 5400)]
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "1w", "2 days", "1.5h", "m5", 300])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="such as 250ms"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=99_999 * 3_600_000))
def test_a_written_duration_reads_back_the_same(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.20"), "0.2"),
        (100.0, "100"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (-0.0, "0"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
    ],
)
def test_a_number_is_written_without_an_exponent(value, text):
    assert format_decimal(value) == text


@given(st.datetimes(timezones=st.timezones()))
def test_a_written_time_reads_back_as_the_same_instant(time):
    assert parse_time(format_time(time)) == time.astimezone(UTC)


def test_a_time_is_written_in_utc_without_an_empty_fraction():
    assert format_time(datetime(2025, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))) == "2025-01-01T10:00:00Z"


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("max_restarts", "maxRestarts"),
        ("image_id", "imageID"),
        ("uid", "uid"),
        ("class_", "class"),
        ("job_uid", "jobUID"),
    ],
)
def test_json_names_follow_the_conventions_of_kubernetes(attribute, name):
    assert camel(attribute) == name
