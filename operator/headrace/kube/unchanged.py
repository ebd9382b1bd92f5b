"""Whether an object that is to be applied stands there already (pure).

Each pass plans all objects of its owner, and most passes find them as they were left: to apply them again costs the API
server more than any other request. An object that was applied carries the hash of what was applied. It is left alone
where that is what is planned now, too (so no field has to be taken away), and where all that is planned is there (so
nobody has changed it since). What others have added to it, such as defaults and labels, is theirs.

What is written in another way than the API server keeps it ("0.5" CPUs, kept as "500m") never looks the same: such an
object is applied in each pass.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from headrace.kube.resources import Object
from headrace.labels import APPLIED


def marked(wanted: Object) -> Object:
    """The object with the annotation that tells next time what it was."""
    metadata = wanted["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED: _hash(wanted)}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def stands(wanted: Object, live: Object) -> bool:
    """Whether `live` is what applying `wanted` would leave; `wanted` as `marked` has returned it."""
    return _has(live, wanted)


def _hash(wanted: Object) -> str:
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _has(live: Any, wanted: Any) -> bool:
    """Whether every value of `wanted` is in `live` at its place; lists have the same length and order."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(key in live and _has(live[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(live, list) and len(live) == len(wanted)
        return same_length and all(map(_has, live, wanted))
    return type(live) is type(wanted) and bool(live == wanted)
