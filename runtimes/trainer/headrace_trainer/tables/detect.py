"""Looks for personal data in a table: e-mail addresses, telephone numbers, IBANs and payment cards in the values, and
columns whose name says that they have such.

By patterns, and where a number has a check digit by python-stdnum, telephone numbers by phonenumbers. Names of people
are in no pattern: only the column's name tells of them. What is found and what is missed of a planted set is a table in
docs/how-to/prepare-data.md, which a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from stdnum import iban, luhn

from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import Array, texts

# Of a column's different values that look like one.
MOST_LOOKED_AT = 50_000
_MOST_OF_A_VALUE = 10_000
# Of numbers that are no cards every tenth has a right check digit.
_FEW, _SHARE = 20, 0.2

_EMAIL = r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
_IBAN = r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b"
_CARD = r"\b[2-6][0-9](?:[ -]?[0-9]){11,17}\b"
_PHONE = r"(?:\+|\b00)[ (]?[0-9][0-9 ()./-]{6,}"
_LOCAL_PHONE = r"[0-9(+][0-9 ()./-]{5,}[0-9]"
_ISSUERS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|3[068]|6011|65|62")
_TELLING = re.compile(
    "e?mail(address)?|(tele|mobile)?phone(number)?|mobile|fax|(first|last|sur|fore|full|given|family|user)?name|"
    "birth(day|date)|dateofbirth|dob|(home|street)?address|street|postcode|zip(code)?|ssn|passport(number)?|iban|"
    "(credit)?card(number)?|ip(address)?"
)


class Kind(StrEnum):
    """What was found."""

    EMAIL = "e-mail address"
    PHONE = "telephone number"
    IBAN = "IBAN"
    CARD = "payment card"
    NAME = "name of the column"


@dataclass(frozen=True)
class Finding:
    """So many `rows` of a column have a value of a kind in them; of its name all of them."""

    column: str
    kind: Kind
    rows: int


def detect(table: Table, kept: Collection[str], done: Collection[str], region: str) -> list[Finding]:
    """In the columns that are neither `kept` as they are nor `done` already."""
    found: list[Finding] = []
    for name in table.data.column_names:
        if name not in kept and name not in done:
            found += _of_column(name, table.data.column(name), region)
    return found


def is_personal(value: str) -> bool:
    """Whether something is found in one value."""
    return any(True for _, pattern, test in _tests("") if re.search(pattern, value) and test(value))


def _of_column(name: str, column: Array, region: str) -> Iterator[Finding]:
    if _TELLING.fullmatch("".join(re.findall("[a-z]+", name.lower()))):
        yield Finding(name, Kind.NAME, len(column))
    if not (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)
    ):
        return
    counted = pc.value_counts(texts(column).combine_chunks().drop_null())
    values, counts = counted.field("values"), counted.field("counts")
    for kind, pattern, test in _tests(region):
        looks = pc.match_substring_regex(values, pattern)
        candidates: Sequence[str] = values.filter(looks).to_pylist()[:MOST_LOOKED_AT]
        of_each: Sequence[int] = counts.filter(looks).to_pylist()[:MOST_LOOKED_AT]
        hits = [count for value, count in zip(candidates, of_each, strict=True) if test(value[:_MOST_OF_A_VALUE])]
        is_chance = kind is Kind.CARD and len(candidates) > _FEW and len(hits) < _SHARE * len(candidates)
        if hits and not is_chance:
            yield Finding(name, kind, sum(hits))


def _tests(region: str) -> tuple[tuple[Kind, str, Callable[[str], bool]], ...]:
    """A pattern that a value has to have, and what it is looked at by then."""
    return (
        (Kind.EMAIL, _EMAIL, lambda value: True),
        (Kind.IBAN, _IBAN, lambda value: any(iban.is_valid(one) for one in _ibans(value))),
        (Kind.CARD, _CARD, lambda value: any(_is_card(one) for one in re.findall(_CARD, value))),
        (Kind.PHONE, _LOCAL_PHONE if region else _PHONE, partial(_has_phone, region)),
    )


def _ibans(value: str) -> Iterator[str]:
    """What follows an IBAN in capitals looks as if it were a part of it."""
    for found in re.findall(_IBAN, value):
        words = found.split(" ")
        yield from (" ".join(words[:count]) for count in range(1, len(words) + 1))


def _is_card(text: str) -> bool:
    digits = re.sub("[ -]", "", text)
    return len(set(digits)) > 1 and _ISSUERS.match(digits) is not None and bool(luhn.is_valid(digits))


def _has_phone(region: str, value: str) -> bool:
    international = re.sub(r"\b00(?=[1-9])", "+", value)
    return phonenumbers.PhoneNumberMatcher(international, region or None).has_next()
