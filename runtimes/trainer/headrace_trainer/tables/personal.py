"""What looks like personal data, in a text or in the name of a column: e-mail addresses, telephone numbers, IBANs and
payment cards.

By patterns, and where a number has a check digit by python-stdnum, telephone numbers by phonenumbers. Names of people
are in no pattern: only the column's name tells of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial

import phonenumbers
from stdnum import iban, luhn

_HIDDEN = "(not shown)"
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


def is_personal(value: str, region: str = "") -> bool:
    """Whether something is found in one value."""
    return any(True for _, pattern, test in tests(region) if re.search(pattern, value) and test(value))


def is_telling(column: str) -> bool:
    """Whether a column of this name has such values, whatever they look like."""
    return _TELLING.fullmatch("".join(re.findall("[a-z]+", column.lower()))) is not None


def shown(name: str) -> str:
    """A column's name, for people. A file without a header has its first row as names."""
    return _HIDDEN if is_personal(name) else name


def shown_value(column: str, value: str, region: str, most: int) -> str:
    """A value of a column that nobody has declared private, cut to its first characters."""
    if is_telling(column) or is_personal(value, region):
        return _HIDDEN
    return repr(value[:most]) + ("..." if len(value) > most else "")


def tests(region: str) -> tuple[tuple[Kind, str, Callable[[str], bool]], ...]:
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
