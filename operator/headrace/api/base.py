"""What every model of the API is made of: the base class, the schema notes on a field, and CEL rules.

The models in this package are read in two directions. The generator (`structural`, `crd`, `reference`) reads the
classes and writes the CRDs; the operator reads objects from the API server into instances of them. Bounds, patterns and
rules stand in `Schema` and `Rule` and are enforced in one place, by the API server: an object that was stored under an
older, wider rule has to stay readable, so the models check types on reading and nothing else. What the
operator writes into status is cut to its bounds (`status`) rather than refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

_ACRONYMS = frozenset({"id", "uid", "uri", "url"})


def camel(name: str) -> str:
    """The JSON name of an attribute: `image_id` is `imageID`, `max_restarts` is `maxRestarts`, `class_` is `class`."""
    first, *others = name.rstrip("_").split("_")
    return first + "".join(word.upper() if word in _ACRONYMS else word.capitalize() for word in others)


@dataclass(frozen=True)
class Rule:
    """A CEL rule of the generated schema.

    `reason` decides how the API server words the refusal: FieldValueForbidden and FieldValueRequired print the message
    alone, FieldValueInvalid puts `Invalid value: "string"` before it, which helps nobody. `pattern`: what the rule
    matches a text with, where that is all of it.
    """

    rule: str
    message: str
    reason: str = "FieldValueForbidden"
    field_path: str = ""
    pattern: str = ""

    def as_schema(self) -> dict[str, str]:
        entry = {"rule": self.rule, "message": self.message, "reason": self.reason}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


def matching(pattern: str, message: str) -> Rule:
    """A pattern with words: the refusal of OpenAPI's own `pattern` shows nothing but the expression."""
    return Rule(f"self.matches(r'{pattern}')", message, pattern=pattern)


@dataclass(frozen=True, init=False)
class Schema:
    """Notes on a field or a type for the generator: description, OpenAPI keywords in their own spelling, CEL rules."""

    description: str
    keywords: dict[str, Any] = field(hash=False)
    rules: tuple[Rule, ...]

    def __init__(self, description: str = "", *, rules: tuple[Rule, ...] = (), **keywords: Any) -> None:
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "keywords", keywords)
        object.__setattr__(self, "rules", rules)


def why_not(kind: Any, text: str) -> str | None:
    """What the API server will say of `text` as a field of this annotated type, as far as lengths and patterns go; None
    where they have nothing against it. For who asks before there is an object.
    """
    for schema in kind.__metadata__:
        if not isinstance(schema, Schema):
            continue
        for rule in schema.rules:
            # As CEL has it: $ is the end of the text, and not the place before a last newline.
            if rule.pattern and ("\n" in text or not re.search(rule.pattern, text)):
                return rule.message
        if len(text) > (longest := schema.keywords.get("maxLength", len(text))):
            return f"must have at most {longest} characters"
    return None


def list_map(*keys: str) -> dict[str, Any]:
    """OpenAPI keywords of a list whose items are told apart by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}


class Model(BaseModel):
    """A part of a resource: camelCase outside, snake_case inside, unknown fields ignored on reading."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="ignore",
    )

    cel: ClassVar[tuple[Rule, ...]] = ()
    """Rules about the object as a whole."""

    immutable_except: ClassVar[tuple[str, ...] | None] = None
    """When set, every attribute but these keeps the value that it was created with."""
