"""The fields of a JSON object, each asked for with its type: the edge where a message becomes values, or one sentence
that says where it is wrong and how.
"""

from __future__ import annotations

import json
import math
from typing import Any

# What a parameter of a script can be.
Scalar = bool | int | float | str


class NotUnderstood(ValueError):
    """A message that cannot be read: the sentence says where and what."""


class OtherProtocol(NotUnderstood):
    """Who wrote it speaks another version of the protocol."""


class CannotBeDone(NotUnderstood):
    """Each field is well-formed, and what they ask for together cannot be done."""


def decode(text: str, name: str) -> Any:
    """The JSON in `text`. Raises NotUnderstood."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"{name} is not JSON: {error}") from error


def wrong(where: str, wanted: str, value: Any) -> NotUnderstood:
    """The error that says so."""
    shown = "absent" if value is None else json.dumps(value)[:80]
    return NotUnderstood(f"{where} must be {wanted}; it is {shown}")


class Fields:
    """One JSON object with the path to it, so that every complaint says where. A field that is null is as good as
    absent. All methods raise NotUnderstood.
    """

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise wrong(where, "an object", data)
        self._data: dict[str, Any] = data
        self._where = where

    def only(self, known: set[str]) -> None:
        """Refuse any other field."""
        if unknown := sorted(set(self._data) - known):
            raise NotUnderstood(f"{self._where} has the unknown field {unknown[0]!r}")

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return self._data.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A text; one without a default is not empty."""
        value = self._value(name, default)
        if not isinstance(value, str) or (default is None and not value):
            raise wrong(f"{self._where}.{name}", "a text that is not empty", value)
        return value

    def integer(self, name: str, least: int, default: int | None = None) -> int:
        """An integer of at least `least`."""
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise wrong(f"{self._where}.{name}", f"an integer of at least {least}", value)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative, as it is written: an integer stays one."""
        value = self._value(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            raise wrong(f"{self._where}.{name}", "a number that is not negative", value)
        return value

    def finite(self, name: str) -> float | None:
        """A number of either sign; None where it is absent."""
        value = self._data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise wrong(f"{self._where}.{name}", "a number", value)
        if value is not None and not math.isfinite(value):
            raise wrong(f"{self._where}.{name}", "a finite number", value)
        return None if value is None else float(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is absent."""
        value = self._value(name, False)
        if not isinstance(value, bool):
            raise wrong(f"{self._where}.{name}", "true or false", value)
        return value

    def items(self, name: str) -> list[Any]:
        """A list; empty where it is absent."""
        value = self._data.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong(f"{self._where}.{name}", "a list", value)
        return value

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; empty where it is absent."""
        return [Fields(item, f"{self._where}.{name}[{index}]") for index, item in enumerate(self.items(name))]

    def object(self, name: str) -> Fields:
        """An object."""
        return Fields(self._data.get(name), f"{self._where}.{name}")

    def optional(self, name: str) -> Fields | None:
        """An object; None where it is absent."""
        return self.object(name) if self.has(name) else None

    def mapping(self, name: str) -> dict[str, Any]:
        """An object whose names are the writer's own; empty where it is absent."""
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise wrong(f"{self._where}.{name}", "an object", value)
        return value

    def scalars(self, name: str) -> dict[str, Scalar]:
        """Parameters of a script; none where it is absent."""
        found = self.mapping(name)
        for key, value in found.items():
            if not isinstance(value, bool | int | float | str):
                raise wrong(f"{self._where}.{name}.{key}", "a text, number or boolean", value)
        return found

    def _value(self, name: str, default: Any) -> Any:
        value = self._data.get(name)
        return default if value is None else value
