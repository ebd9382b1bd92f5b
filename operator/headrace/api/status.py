"""How a status is written: JSON names, nothing that is absent, everything cut to the bounds of the schema.

Much of a status is what user code said (messages, metrics, log lines). The API server refuses a whole write for one
text that is too long, and with it everything else that there is to tell; so what is too much is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from headrace.api.base import Model
from headrace.api.structural import object_schema


def to_status_dict(status: Model) -> dict[str, Any]:
    """The status as it goes to the API server."""
    dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    present = {name: part for name, part in dumped.items() if part not in ({}, [])}
    fitting: dict[str, Any] = fitted(present, _schema(type(status)))
    return fitting


def fitted(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value within the schema's bounds: a text loses its end, a list its first (oldest) items, a map its last."""
    if isinstance(value, str):
        return shorten(value, schema.get("maxLength", len(value)))
    if isinstance(value, list):
        kept = value[max(0, len(value) - schema.get("maxItems", len(value))) :]
        return [fitted(item, schema["items"]) for item in kept]
    if isinstance(value, dict) and "properties" in schema:
        return {name: fitted(part, schema["properties"][name]) for name, part in value.items()}
    if isinstance(value, dict) and "additionalProperties" in schema:
        names = list(value)[: schema.get("maxProperties", len(value))]
        return {name: fitted(value[name], schema["additionalProperties"]) for name in names}
    return value


def shorten(text: str, length: int) -> str:
    """Cut a text to `length` characters, the last one an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


@cache
def _schema(model: type[Model]) -> dict[str, Any]:
    return object_schema(model)
