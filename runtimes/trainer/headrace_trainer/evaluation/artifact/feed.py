"""Which columns go into which input, and as what. What does not fit is told with both sides of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np

from headrace_trainer.evaluation.artifact.kind import TEXT, Array, Tensor
from headrace_trainer.evaluation.data.table import Table, missing
from headrace_trainer.evaluation.refusal import Refusal, UnreadableData, listed

_FIELD = "evaluate.data.inputs"


def columns_of(
    inputs: Sequence[Tensor], named: Mapping[str, Sequence[str]], table: Table, taken: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Of each input its columns: those that the spec names, else the one of its own name, else (of a single input) all
    that are not `taken` for something else. Raises Refusal.
    """
    names = [tensor.name for tensor in inputs]
    unknown = [name for name in named if name not in names]
    if unknown:
        raise Refusal(
            f"the model has no input {listed(unknown)}; its inputs are {listed(map(str, inputs))}",
            f"Correct the names in {_FIELD}.",
        )
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name in named:
            found[name] = tuple(named[name])
        elif name in table.columns:
            found[name] = (name,)
        elif len(names) == 1:
            found[name] = tuple(column for column in table.names if column not in taken)
        else:
            raise Refusal(
                f"{table.where} has no column {name!r}, as an input of the model is called; it has "
                f"{listed(table.names)}",
                f"Say in {_FIELD} which columns it is made of.",
            )
        if not found[name]:
            raise Refusal(
                f"{table.where} has no column for the model's input {name}",
                f"Say in {_FIELD} which columns it is made of.",
            )
    for name, columns in found.items():
        for column in columns:
            table.column(column, f"{_FIELD}.{name}")
    return found


def fed(tensor: Tensor, columns: Sequence[str], table: Table, named: Mapping[str, Sequence[str]]) -> Array:
    """All rows of an input, as the model takes them. `named` is what the spec has of the inputs. Raises Refusal."""
    field = f"{_FIELD}.{tensor.name}"
    leave_it = (
        f"leave it out of {field}."
        if tensor.name in named
        else f"set {field} to the columns that the model takes: without it the column of the input's own name is "
        "taken, or all that are no label, weight, group, slice or sensitive column."
    )
    parts = [_cast(table.columns[name], tensor, name, table.where, leave_it) for name in columns]
    values = parts[0] if len(parts) == 1 else _beside(parts, columns, tensor, table.where)
    return _shaped(values, tensor, columns, table.where)


def _beside(parts: Sequence[Array], columns: Sequence[str], tensor: Tensor, where: str) -> Array:
    flat = [part[:, None] if part.ndim == 1 else part for part in parts]
    if len({part.shape[1:-1] for part in flat}) > 1:
        told = listed(f"{name} {list(part.shape[1:])}" for name, part in zip(columns, parts, strict=True))
        raise Refusal(
            f"{where}: the columns of the input {tensor.name} have different shapes: {told}",
            f"Name columns of one shape, or a single array, in {_FIELD}.{tensor.name}.",
        )
    return np.concatenate(flat, axis=-1)


def _shaped(values: Array, tensor: Tensor, columns: Sequence[str], where: str) -> Array:
    """A row has the model's shape, or as many values in another one."""
    wanted = tensor.shape[1:] if tensor.shape else ()
    given = values.shape[1:]
    if len(given) == len(wanted) and all(a in (None, b) for a, b in zip(wanted, given, strict=True)):
        return values
    if wanted.count(None) <= 1 and tensor.shape:
        sizes = tuple(-1 if size is None else size for size in wanted)
        known = prod(size for size in sizes if size > 0)
        fits = prod(given) == known if -1 not in sizes else len(given) < len(wanted) and prod(given) % known == 0
        if fits:
            return values.reshape(len(values), *sizes)
    raise Refusal(
        f"{where}: a row of {listed(columns)} has the shape {list(given)}, and the model's input is {tensor}",
        f"Write rows of the shape that the model takes, or name other columns in {_FIELD}.{tensor.name}. Columns that "
        "are no input are taken for one where nothing names the inputs.",
    )


def _cast(values: Array, tensor: Tensor, column: str, where: str, leave_it: str) -> Array:
    if tensor.dtype == TEXT:
        return _texts(values, column, where)
    wanted = np.dtype(tensor.dtype)
    if values.dtype.kind not in "iufb":
        raise UnreadableData(
            f"{where}: {column!r} has no numbers, and the model's input is {tensor}",
            f"Write it as numbers, or {leave_it}",
        )
    if wanted.kind == "f":
        return values.astype(wanted)
    if values.dtype.kind == "f":
        _check_whole(values, tensor, column, where)
    if wanted.kind in "iu" and len(values):
        limits = np.iinfo(wanted)
        if values.min() < limits.min or values.max() > limits.max:
            raise UnreadableData(
                f"{where}: {column!r} has numbers that are no {tensor.dtype}, and the model's input is {tensor}",
                "Write the numbers as the model was trained on them.",
            )
    return values.astype(wanted)


def _check_whole(values: Array, tensor: Tensor, column: str, where: str) -> None:
    lost = int(missing(values).sum())
    if lost:
        raise UnreadableData(
            f"{where}: {lost} of {len(values)} rows have no value in {column!r}, and the model's input is {tensor}",
            "Fill them, or leave these rows out, when the data is prepared.",
        )
    if not np.all(values == np.floor(values)):
        raise UnreadableData(
            f"{where}: {column!r} has broken numbers, and the model's input is {tensor}",
            "Write the numbers as the model was trained on them.",
        )


def _texts(values: Array, column: str, where: str) -> Array:
    lost = int(missing(values).sum())
    if lost:
        raise UnreadableData(
            f"{where}: {lost} of {len(values)} rows have no text in {column!r}",
            "Write an empty text, or leave these rows out, when the data is prepared.",
        )
    flat = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.ravel()]
    found = np.empty(len(flat), dtype=object)
    found[:] = flat
    return found.reshape(values.shape)
