"""What a flag's value may be, and how a bad one is told."""

from __future__ import annotations

import pytest

from headrace_serving.failures import Reason, StartError
from headrace_serving.flags import Parser, count, port_number, seconds


def value_of(kind, text: str):
    parser = Parser()
    parser.add_argument("--flag", type=kind)
    return parser.parse_args([f"--flag={text}"]).flag


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (port_number, "0", 0),
        (port_number, "65535", 65535),
        (count, "1", 1),
        (seconds, "0", 0),
        (seconds, "86399.5", 86399.5),
    ],
)
def test_a_value_within_its_bounds_is_taken(kind, text, value):
    assert value_of(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((port_number, text) for text in ("-1", "65536", "x", "")),
        *((count, text) for text in ("0", "-1", "1.5", "x")),
        *((seconds, text) for text in ("-1", "86400", "inf", "nan", "x")),
    ],
)
def test_any_other_is_a_bad_config_that_names_the_flag(kind, text):
    with pytest.raises(StartError, match="--flag") as caught:
        value_of(kind, text)
    assert (caught.value.reason, caught.value.hint) == (Reason.BAD_CONFIG, "`--help` lists the flags.")
