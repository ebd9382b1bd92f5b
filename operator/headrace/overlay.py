"""Lays a user's podTemplate over the rendered one (pure).

Objects merge key by key; lists of named things (containers, volumes, env, ports, ...) merge by name, so that
`containers: [{name: trainer, env: [...]}]` adds to the trainer; any other list or value replaces. A variable has a
`value` or a `valueFrom`: one replaces the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REPLACES = {"value": "valueFrom", "valueFrom": "value"}


def overlay(base: Any, over: Any) -> Any:
    """`base` with `over` on top, both left as they are. None in `over` leaves what is below."""
    if over is None:
        return base
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        kept = {key: value for key, value in base.items() if over.get(_REPLACES.get(key)) is None}
        return {key: overlay(kept.get(key), over.get(key)) for key in [*kept, *(k for k in over if k not in kept)]}
    if _is_named(base) and _is_named(over):
        return _merge_named(base, over)
    return over


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def _merge_named(base: list[Any], over: list[Any]) -> list[Any]:
    additions = {item["name"]: item for item in over}
    merged = [overlay(item, additions.pop(item["name"], None)) for item in base]
    return merged + list(additions.values())
