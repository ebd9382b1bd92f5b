"""HEADRACE_LOAD: which model a serving pod's loader is to fetch, as the operator asks for it.

Unlike a launcher a loader refuses what it does not know: a misspelt digest must not turn verification off. That costs
nothing at an upgrade, since a pod's template has the image of the release that wrote it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace_common.paths import why_unsafe
from headrace_common.protocol import PROTOCOL
from headrace_common.protocol.fields import Fields, NotUnderstood, OtherProtocol, decode, wrong
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import SCHEME, Place

VARIABLE = "HEADRACE_LOAD"
DEFAULT_DEADLINE_SECONDS = 120.0

_FIELDS = {
    "protocol",
    "uri",
    "digest",
    "formats",
    "target",
    "storage",
    "layout",
    "deadlineSeconds",
    "maxBytes",
    "progressPort",
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class LoadRequest:
    """One model to load: s3://BUCKET/PREFIX. Without a digest whatever lies there is taken.

    `layout` maps a format to the folder below `target` that its files go to; by default the one they have in the model.
    `storage` is None where it is what the SDK finds by itself (AWS, workload identity). `deadline_seconds` is how long
    it may be away without a single byte arriving. `max_bytes` None: the disk alone bounds a model. `progress_port`
    None: nobody can ask how far it is.
    """

    uri: str
    digest: str | None
    formats: tuple[str, ...]
    target: Path
    storage: Storage | None = None
    layout: Mapping[str, str] = field(default_factory=dict)
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    max_bytes: int | None = None
    progress_port: int | None = None

    @property
    def place(self) -> Place:
        """Where the model lies."""
        return Place.parse(self.uri.rstrip("/"))

    def as_json(self) -> dict[str, Any]:
        """The object as runtimes/loader/README.md has it, without what is as by default."""
        found: dict[str, Any] = {
            "protocol": PROTOCOL,
            "uri": self.uri,
            "digest": self.digest,
            "formats": list(self.formats),
            "target": str(self.target),
        }
        if self.storage is not None:
            found["storage"] = self.storage.as_json()
        if self.layout:
            found["layout"] = dict(self.layout)
        if self.deadline_seconds != DEFAULT_DEADLINE_SECONDS:
            found["deadlineSeconds"] = self.deadline_seconds
        if self.max_bytes is not None:
            found["maxBytes"] = self.max_bytes
        if self.progress_port is not None:
            found["progressPort"] = self.progress_port
        return found

    def as_text(self) -> str:
        """The variable's value: the same for the same request."""
        return json.dumps(self.as_json(), sort_keys=True)


def parse_load(text: str) -> LoadRequest:
    """The request in `text`. Raises NotUnderstood with the place and the fault, also OtherProtocol."""
    root = Fields(decode(text, VARIABLE), VARIABLE)
    root.only(_FIELDS)
    protocol = root.integer("protocol", least=0, default=PROTOCOL)
    if protocol != PROTOCOL:
        raise OtherProtocol(f"the operator speaks protocol {protocol}, this loader speaks {PROTOCOL}")
    formats = _formats(root.items("formats"))
    return LoadRequest(
        uri=_uri(root.text("uri")),
        digest=_digest(root.text("digest")) if root.has("digest") else None,
        formats=formats,
        target=_target(root.text("target")),
        storage=_storage(root.optional("storage")),
        layout=_layout(root.mapping("layout"), formats),
        deadline_seconds=_positive("deadlineSeconds", root.number("deadlineSeconds", DEFAULT_DEADLINE_SECONDS)),
        max_bytes=root.integer("maxBytes", least=1) if root.has("maxBytes") else None,
        progress_port=root.integer("progressPort", least=1) if root.has("progressPort") else None,
    )


def _uri(text: str) -> str:
    place = Place.parse(text.rstrip("/"))
    if text.startswith(SCHEME) and place.bucket and place.key:
        return text
    raise wrong(f"{VARIABLE}.uri", "s3://BUCKET/PREFIX", text)


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise wrong(f"{VARIABLE}.digest", "sha256: and 64 hex digits", text)
    return text


def _formats(values: list[Any]) -> tuple[str, ...]:
    if not values or not all(isinstance(value, str) and value for value in values) or len(set(values)) != len(values):
        raise wrong(f"{VARIABLE}.formats", "a list of at least one name, each once", values)
    return tuple(values)


def _target(text: str) -> Path:
    target = Path(text)
    if not text.startswith("/") or ".." in target.parts or "\0" in text or target == Path("/"):
        raise wrong(f"{VARIABLE}.target", "the absolute path of a folder below /", text)
    return target


def _storage(fields: Fields | None) -> Storage | None:
    if fields is None:
        return None
    fields.only({"endpoint", "region"})
    return Storage(fields.text("endpoint", ""), fields.text("region", ""))


def _layout(layout: dict[str, Any], formats: tuple[str, ...]) -> dict[str, str]:
    for name, folder in layout.items():
        if name not in formats:
            raise NotUnderstood(f"{VARIABLE}.layout has {name!r}, which is not in formats")
        problem = why_unsafe(folder) if isinstance(folder, str) else "is not a text"
        if problem:
            raise NotUnderstood(f"{VARIABLE}.layout.{name} {problem}: {folder!r}")
    return layout


def _positive(name: str, value: float) -> float:
    if value == 0 or not math.isfinite(value):
        raise wrong(f"{VARIABLE}.{name}", "a positive number", value)
    return value
