"""report.json: what was read, what was done, and what came of it. No value of a private column is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace_common.protocol.tables import Action, Tables
from headrace_trainer.tables.detect import Finding
from headrace_trainer.tables.types import name_of, texts

NAME = "report.json"
_MOST_CLASSES = 100


def report(
    tables: Tables,
    read: pa.Table,
    files: int,
    parts: Mapping[str, pa.Table],
    found: Sequence[Finding],
    twice: Mapping[str, int],
) -> dict[str, Any]:
    """As JSON. `read` is the table as it was typed, before anything was hidden; `twice` says of each part how many of
    its rows are in the training part too.
    """
    actions = {} if tables.privacy is None else tables.privacy.actions
    first = next(iter(parts.values()))
    told: dict[str, Any] = {
        "read": {"files": files, "rows": read.num_rows, "bytesInMemory": read.nbytes},
        "rows": {name: part.num_rows for name, part in parts.items()},
        "columns": [{"name": field.name, "type": name_of(field.type)} for field in first.schema],
        "private": [
            {"name": name, "action": str(action), "values": len(read) - read.column(name).null_count}
            for name, action in actions.items()
            if action is not Action.KEEP
        ],
    }
    if tables.privacy is not None:
        told["found"] = [{"column": one.column, "what": str(one.kind), "rows": one.rows} for one in found]
    if labels := {column for column in (_stratify(tables), _balanced(tables)) if column}:
        told["classes"] = {label: _classes(label, parts) for label in sorted(labels)}
    if len(parts) > 1:
        told["rowsAlsoInTraining"] = dict(twice)
    return told


def as_text(told: Mapping[str, Any]) -> str:
    """The file."""
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _classes(label: str, parts: Mapping[str, pa.Table]) -> dict[str, dict[str, int]]:
    found = {}
    for name, part in parts.items():
        counts = texts(part.column(label)).value_counts().to_pylist()
        counts.sort(key=lambda one: (-one["counts"], str(one["values"])))
        found[name] = {
            "(missing)" if one["values"] is None else one["values"]: one["counts"] for one in counts[:_MOST_CLASSES]
        }
    return found


def _stratify(tables: Tables) -> str:
    return "" if tables.split is None else tables.split.stratify


def _balanced(tables: Tables) -> str:
    return "" if tables.balance is None else tables.balance.column
