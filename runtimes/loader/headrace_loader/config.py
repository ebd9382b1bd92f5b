"""HEADRACE_LOAD: what the operator asks for, checked before anything is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.paths import why_unsafe
from headrace_common.s3 import SCHEME, Place
from headrace_loader.failures import LoadError, Reason

PROTOCOL = 1
DEFAULT_DEADLINE_SECONDS = 120.0
DEFAULT_MAX_BYTES = 64 * 1024**3

_KEYS = {"protocol", "uri", "digest", "formats", "target", "storage", "layout", "deadlineSeconds", "maxBytes"}
_STORAGE_KEYS = {"endpoint", "region"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Storage:
    """Where S3 is; None means what the SDK finds by itself (AWS, workload identity)."""

    endpoint: str | None
    region: str | None


@dataclass(frozen=True)
class LoadRequest:
    """One model to load.

    `layout` maps a format to the folder below `target` that its files go to; by default the one they have in the model.
    `deadline_seconds` is how long storage may be away without a single byte arriving.
    """

    place: Place
    digest: str | None
    formats: tuple[str, ...]
    target: Path
    storage: Storage
    layout: Mapping[str, str]
    deadline_seconds: float
    max_bytes: int


def parse(text: str | None) -> LoadRequest:
    """The request in `text` (JSON). Raises LoadError(BadConfig) that names the field."""
    if not text:
        raise _bad("HEADRACE_LOAD is not set")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"HEADRACE_LOAD is not JSON: {error}") from error
    fields = _object(value, "HEADRACE_LOAD", _KEYS)
    if fields.get("protocol", PROTOCOL) != PROTOCOL:
        raise _bad(f"protocol is {fields['protocol']!r}; this loader speaks {PROTOCOL}")
    place = _place(fields.get("uri"))
    formats = _formats(fields.get("formats"))
    storage = _optional_object(fields.get("storage"), "storage", _STORAGE_KEYS)
    return LoadRequest(
        place=place,
        digest=_digest(fields.get("digest")),
        formats=formats,
        target=_target(fields.get("target")),
        storage=Storage(
            endpoint=_optional_text(storage.get("endpoint"), "storage.endpoint"),
            region=_optional_text(storage.get("region"), "storage.region"),
        ),
        layout=_layout(fields.get("layout"), formats),
        deadline_seconds=_positive(fields.get("deadlineSeconds", DEFAULT_DEADLINE_SECONDS), "deadlineSeconds"),
        max_bytes=int(_positive(fields.get("maxBytes", DEFAULT_MAX_BYTES), "maxBytes")),
    )


def _bad(message: str) -> LoadError:
    return LoadError(
        Reason.BAD_CONFIG,
        message,
        "The operator writes HEADRACE_LOAD: run the loader and the operator of one release.",
    )


def _object(value: Any, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{name} is not a JSON object")
    unknown = sorted(set(value) - known)
    if unknown:
        # A misspelt "digest" must not turn verification off.
        raise _bad(f"{name} has the unknown field {unknown[0]!r}")
    return value


def _optional_object(value: Any, name: str, known: set[str]) -> dict[str, Any]:
    return {} if value is None else _object(value, name, known)


def _place(value: Any) -> Place:
    if isinstance(value, str) and value.startswith(SCHEME):
        place = Place.parse(value.rstrip("/"))
        if place.bucket and place.key:
            return place
    raise _bad(f"uri is {value!r}, not s3://BUCKET/PREFIX")


def _digest(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _bad(f"digest is {value!r}, not sha256: and 64 hex digits")
    return value


def _formats(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise _bad("formats is not a list of at least one name")
    if len(set(value)) != len(value):
        raise _bad("formats names one format twice")
    return tuple(value)


def _target(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or ".." in Path(value).parts or "\0" in value:
        raise _bad(f"target is {value!r}, not an absolute path")
    target = Path(value)
    if target == Path("/"):
        raise _bad("target is the root folder")
    return target


def _layout(value: Any, formats: tuple[str, ...]) -> dict[str, str]:
    layout = _optional_object(value, "layout", set(formats))
    for name, folder in layout.items():
        problem = why_unsafe(folder) if isinstance(folder, str) else "is not a text"
        if problem:
            raise _bad(f"layout.{name} {problem}: {folder!r}")
    return layout


def _optional_text(value: Any, name: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _bad(f"{name} is not a text")
    return value


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _bad(f"{name} is {value!r}, not a positive number")
    return value
