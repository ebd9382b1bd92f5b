"""What is known of the rows beside what a model says of them: the truth, weights, groups, slices, who is who."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace_common.evaluation import Task, slice_of
from headrace_common.protocol.evaluate import Evaluate
from headrace_trainer.evaluation.data.table import Table, missing
from headrace_trainer.evaluation.data.values import Values, groups, values_of, weights
from headrace_trainer.evaluation.refusal import UnreadableData

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Rows:
    """`label` is what is true of each row. What is not the model's to see is in `taken`."""

    table: Table
    label: Array
    weights: Array
    groups: Array | None
    slices: Mapping[str, Values]
    sensitive: Mapping[str, Values]
    taken: Collection[str]

    @property
    def count(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Items:
    """What metrics are means over: the rows, or, of a ranking, the groups. `independent` is what the bootstrap draws
    together; None where each item is by itself. `slices` has the items of each, by its name.
    """

    count: int
    weights: Array
    independent: Array | None
    slices: Mapping[str, Array]
    sensitive: Mapping[str, Values]


def rows_of(table: Table, evaluate: Evaluate) -> Rows:
    """Raises Refusal where a column is missing, or is not what it has to be."""
    data = evaluate.data
    if data is None:
        raise RuntimeError("a task of Headrace's own has data")
    label = table.column(data.label, "evaluate.data.label")
    named = [data.label, *filter(None, [data.weight, data.group]), *evaluate.slices, *evaluate.sensitive]
    for name in evaluate.slices:
        table.column(name, "evaluate.slices")
    for name in evaluate.sensitive:
        table.column(name, "evaluate.sensitive")
    rows = table.same_rows(name for name in named if name in table.columns)
    lost = int(missing(label).sum())
    if lost:
        raise UnreadableData(
            f"{table.where}: {lost} of {rows} rows have no label in {data.label!r}",
            "Leave rows out whose truth is not known, when the data is prepared.",
        )
    weighed = weights(table, data.weight, rows)
    if data.weight and not weighed.all():
        table, label, weighed = _that_count(table, label, weighed)
    wanted = {one.slice for one in evaluate.comparisons}
    slices = {name: _values(table, name, "evaluate.slices", wanted) for name in evaluate.slices}
    sensitive = {name: _values(table, name, "evaluate.sensitive", ()) for name in evaluate.sensitive}
    return Rows(table, label, weighed, groups(table, data.group), slices, sensitive, frozenset(named))


def _that_count(table: Table, label: Array, weighed: Array) -> tuple[Table, Array, Array]:
    """Without the rows that weigh nothing: they would count as rows that tell something."""
    counts, rows = weighed > 0, len(weighed)
    columns, written = (
        {name: values[counts] if len(values) == rows else values for name, values in of.items()}
        for of in (table.columns, table.written)
    )
    return Table(columns, table.where, written), label[counts], weighed[counts]


def _values(table: Table, name: str, field: str, wanted: Collection[str]) -> Values:
    prefix = slice_of(name, "")
    return values_of(table, name, field, {one.removeprefix(prefix) for one in wanted if one.startswith(prefix)})


def items_of(rows: Rows, task: Task) -> Items:
    """Raises Refusal where the rows of a group are of several slices."""
    if task is not Task.RANKING:
        return Items(rows.count, rows.weights, rows.groups, _by_name(rows.slices), rows.sensitive)
    of = _groups(rows)
    first = np.unique(of, return_index=True)[1]
    count = len(first)
    for name, values in rows.slices.items():
        if not np.array_equal(values.of, values.of[first][of]):
            raise UnreadableData(
                f"{rows.table.where}: rows of one group have different values in {name!r}",
                "Slices of a ranking are of whole groups: write one value for all rows of a group.",
            )
    by_group = {name: Values(values.of[first], values.names, values.left_out) for name, values in rows.slices.items()}
    weights_of = np.bincount(of, rows.weights, minlength=count) / np.bincount(of, minlength=count)
    return Items(count, weights_of, None, _by_name(by_group), {})


def _groups(rows: Rows) -> Array:
    if rows.groups is None:
        raise RuntimeError("a ranking has groups")
    return rows.groups


def _by_name(columns: Mapping[str, Values]) -> dict[str, Array]:
    return {
        slice_of(column, name): np.flatnonzero(values.of == number)
        for column, values in columns.items()
        for number, name in enumerate(values.names)
    }
