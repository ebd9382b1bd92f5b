"""From a model class to a structural OpenAPI v3 schema: no $ref, no anyOf, a description on every field.

`kubectl explain` shows neither defaults nor bounds, so those of a spec are appended to its descriptions.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from headrace.api.base import Model, Rule, Schema, camel

_SCALARS: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}


class NotStructural(TypeError):
    """A model uses a type that has no structural schema."""


def object_schema(model: type[Model]) -> dict[str, Any]:
    """The schema of a model class, nested models written out."""
    hints = get_type_hints(model, include_extras=True)
    properties = {
        camel(name): _field_schema(model, name, hints[name], field) for name, field in model.model_fields.items()
    }
    immutable = [name for name in _immutable_fields(model) if _is_seen_by_cel(properties[name])]
    schema: dict[str, Any] = {"type": "object", "description": description_of(model), "properties": properties}
    required = sorted(camel(name) for name, field in model.model_fields.items() if field.is_required())
    if required:
        schema["required"] = required
    rules = [rule.as_schema() for rule in (*model.cel, *(_unchanged(model, name) for name in immutable))]
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema


def description_of(model: type) -> str:
    """The first line of a class's own docstring."""
    if not model.__doc__:
        raise NotStructural(f"{model.__name__} has no docstring to describe it")
    return model.__doc__.strip().splitlines()[0]


def _immutable_fields(model: type[Model]) -> list[str]:
    if model.immutable_except is None:
        return []
    return [camel(attribute) for attribute in model.model_fields if attribute not in model.immutable_except]


def _is_seen_by_cel(schema: dict[str, Any]) -> bool:
    """A map of values without a type does not exist for CEL; its immutability is the chart's admission policy's."""
    values = schema.get("additionalProperties")
    return values is None or "type" in values or "x-kubernetes-int-or-string" in values


def _unchanged(model: type[Model], name: str) -> Rule:
    """`==` alone would not see a field that is added or taken away, and the shorter `?.` is over the API server's cost
    budget when it compares objects."""
    *names, last = (camel(attribute) for attribute in model.immutable_except or ())
    mutable = f"{', '.join(names)} and {last}" if names else last
    return Rule(
        f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
        f"cannot be changed, only {mutable} can: create a new object under another name",
        field_path=f".{name}",
    )


def _field_schema(model: type[Model], name: str, hint: Any, field: FieldInfo) -> dict[str, Any]:
    schema = type_schema(hint)
    if not schema.get("description"):
        raise NotStructural(f"{model.__name__}.{name} has no description")
    default = _default(model, name, field)
    return schema if default is None else schema | {"default": default}


def _default(model: type[Model], name: str, field: FieldInfo) -> Any:
    """A field's default as JSON; None where there is none to write, which is so for what is empty anyway."""
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}):
        return None
    dumped = model.model_construct(**{name: value}).model_dump(
        mode="json", by_alias=True, exclude_none=True, include={name}
    )
    plain = _without_empty(dumped[camel(name)])
    return None if plain in ({}, []) else plain


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {name: _without_empty(item) for name, item in value.items()}
    return {name: item for name, item in kept.items() if item not in ({}, [])}


def type_schema(hint: Any) -> dict[str, Any]:
    """The schema of a type annotation; notes of an outer `Annotated` add to those of an inner one."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return _with_notes(inner, [note for note in notes if isinstance(note, Schema)])
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return type_schema(members[0])
        raise NotStructural(f"a union needs a Schema with a type of its own: {hint}")
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _described(type_schema(get_args(hint)[0]), "An item.")}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _described(type_schema(get_args(hint)[1]), "A value.")}
    if isinstance(hint, type) and issubclass(hint, Model):
        return object_schema(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"type": "string", "enum": [member.value for member in hint]}
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    raise NotStructural(f"no structural schema for {hint}")


def _with_notes(inner: Any, notes: list[Schema]) -> dict[str, Any]:
    keywords: dict[str, Any] = {}
    for note in notes:
        keywords |= note.keywords
    # A note that names the type stands for the annotation: the Python type is how the value is held, not sent.
    stands_alone = any(key in keywords for key in ("type", "x-kubernetes-int-or-string", "minProperties"))
    schema = ({} if stands_alone else type_schema(inner)) | keywords
    rules = [rule.as_schema() for note in notes for rule in note.rules]
    if rules:
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", []), *rules]
    for note in notes:
        if note.description:
            schema["description"] = note.description
    return schema


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description} | schema


def explained(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with defaults and bounds told in each description."""
    told = dict(schema)
    facts = " ".join(_facts(schema))
    if facts:
        told["description"] = f"{schema['description']} {facts}"
    if "properties" in schema:
        told["properties"] = {name: explained(part) for name, part in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            told[key] = explained(schema[key])
    return told


def _facts(schema: dict[str, Any]) -> typing.Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"From {schema['minimum']} to {schema['maximum']}."
    elif "minimum" in schema:
        yield f"At least {schema['minimum']}."
    if "maxLength" in schema:
        yield f"At most {schema['maxLength']} characters."
    if "maxItems" in schema and schema.get("type") == "array":
        yield f"At most {schema['maxItems']} items."
    if "maxProperties" in schema and schema.get("type") == "object":
        yield f"At most {schema['maxProperties']} entries."
    default = schema.get("default")
    if default not in (None, "") and not isinstance(default, dict):
        yield f"Default: {_plain(default)}."


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)
