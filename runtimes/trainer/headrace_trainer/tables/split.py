"""Which row goes to which part. The same table and seed give the same parts: the random numbers are those of NumPy's
RandomState, whose stream no release changes.

by chance       shares to within a row; with `stratify` to within a row in each class. scikit-learn's splits take two
                parts at a time, and no class of one row
by `group`      a group is whole in one part: the largest first, each to where most rows are wanting. Shares come as
                near as the sizes of the groups let them; with `stratify` the classes do, too
by `time`       earlier rows train. Rows of one moment are in one part, so no row of a part is as early as one of
                the part before. With `group` the groups have to fit: one that is on both sides is a leak

Rows stay in their order in each part.
"""

from __future__ import annotations

import itertools
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.tables import ColumnType, Split
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import parse, rows_of

PARTS = ("train", "validation", "test")
Codes = npt.NDArray[np.int64]


def split(table: Table, how: Split) -> Codes:
    """The number of each row's part, of PARTS. Raises Refused (ColumnNotFound, ColumnUnusable, SplitEmpty,
    SplitLeaks).
    """
    shares = shares_of(how)
    count = table.data.num_rows
    classes = codes(table, how.stratify, "split.stratify") if how.stratify else np.zeros(count, np.int64)
    groups = _groups(table, how.group) if how.group else None
    times = _times(table, how.time) if how.time else None
    if times is not None:
        parts = by_time(times, shares)
    elif groups is not None:
        parts = by_group(groups, classes, shares, how.seed)
    else:
        parts = by_chance(classes, shares, how.seed)
    _check_filled(parts, shares, how)
    check_leaks(parts, groups, times)
    return parts


def shares_of(how: Split) -> npt.NDArray[np.float64]:
    """By the parts' numbers; they make 1."""
    shares = np.array([float(how.train), float(how.validation), float(how.test)])
    return shares / float(how.train + how.validation + how.test)


def codes(table: Table, name: str, asked_by: str) -> Codes:
    """A number for each different value; values that are missing are a class of their own."""
    column = table.column(name, asked_by)
    if pa.types.is_nested(column.type):
        unusable(
            f"{asked_by}: the values of {name} are of type {column.type}, of which no two can be told to be the same",
            "Name a column of texts, numbers or times in spec.prepare.tables.",
        )
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)


def by_chance(classes: Codes, shares: npt.NDArray[np.float64], seed: int) -> Codes:
    """Of each class its shares, up or down to whole rows; the rows that are left over go where most are wanting."""
    random = np.random.RandomState(seed)
    order = random.permutation(len(classes))
    parts = np.zeros(len(classes), np.int64)
    wanting = np.zeros(len(shares))
    for label in np.unique(classes):
        rows = order[classes[order] == label]
        exact = shares * len(rows)
        # A sum of decimals may be a little below a whole number.
        counts = np.floor(exact + 1e-9).astype(np.int64)
        wanting += exact - counts
        open_parts = exact - counts > 1e-9
        for _ in range(len(rows) - int(counts.sum())):
            part = int(np.argmax(np.where(open_parts, wanting, -np.inf)))
            counts[part] += 1
            wanting[part] -= 1
            open_parts[part] = False
        parts[rows] = np.repeat(np.arange(len(shares)), counts)
    return parts


def by_group(groups: Codes, classes: Codes, shares: npt.NDArray[np.float64], seed: int) -> Codes:
    """Each group whole in one part."""
    order = np.argsort(groups, kind="stable")
    first = np.flatnonzero(np.diff(groups[order], prepend=-1))
    members = np.split(order, first[1:])
    asked = np.flatnonzero(shares > 0)
    if len(members) < len(asked):
        _empty(f"{len(members)} groups cannot fill {len(asked)} parts")
    number = int(classes.max()) + 1
    totals = np.bincount(classes, minlength=number).astype(float)
    wanting = shares[:, None] * totals
    filled = np.zeros(len(shares), bool)
    parts = np.zeros(len(groups), np.int64)
    mixed = np.random.RandomState(seed).permutation(len(members))
    by_size = sorted(mixed.tolist(), key=lambda group: -len(members[group]))
    for place, group in enumerate(by_size):
        rows = members[group]
        counts = np.bincount(classes[rows], minlength=number)
        left = len(by_size) - place
        empty = [part for part in asked if not filled[part]]
        among = empty if left <= len(empty) else asked
        # How much nearer to what is wanted a part comes by this group, each class in its own measure.
        gains = [float(((2 * wanting[part] - counts) * counts / totals**2).sum()) for part in among]
        part = among[int(np.argmax(gains))]
        parts[rows] = part
        wanting[part] -= counts
        filled[part] = True
    return parts


def by_time(times: Codes, shares: npt.NDArray[np.float64]) -> Codes:
    """Cut where the time changes, as near to the shares as that lets."""
    ordered = np.sort(times)
    changes = np.flatnonzero(np.diff(ordered)) + 1
    edges = np.concatenate([[0], changes, [len(times)]])
    parts = np.zeros(len(times), np.int64)
    for part in (1, 2):
        wanted = shares[:part].sum() * len(times)
        cut = int(edges[np.argmin(np.abs(edges - wanted))]) if shares[part:].sum() > 0 else len(times)
        if cut < len(times):
            parts[times >= ordered[cut]] = part
    return parts


def check_leaks(parts: Codes, groups: Codes | None, times: Codes | None) -> None:
    """Looks at the parts alone, however they came to be. Raises Refused (SplitLeaks)."""
    if groups is not None:
        pairs = np.unique(np.stack([groups, parts]), axis=1)
        _, count = np.unique(pairs[0], return_counts=True)
        if crossing := int((count > 1).sum()):
            raise Refused(
                Reason.SPLIT_LEAKS,
                f"{crossing} of {len(count)} groups of split.group have rows in more than one part",
                "With split.time a group has to lie in one part as a whole. Leave time or group out of "
                "spec.prepare.tables.split, choose other shares, or keep only groups that end before the next part "
                "begins.",
            )
    if times is not None:
        present = [times[parts == part] for part in range(len(PARTS)) if (parts == part).any()]
        if any(before.max() >= after.min() for before, after in itertools.pairwise(present)):
            raise Refused(
                Reason.SPLIT_LEAKS,
                "a row of a later part is as early as one of an earlier part",
                "This is a fault of Headrace: please report it.",
            )


def _groups(table: Table, name: str) -> Codes:
    missing = rows_of(pc.is_null(table.column(name, "split.group"), nan_is_null=True))
    if missing:
        unusable(
            f"split.group: {len(missing)} rows have no {name} ({table.places(missing)})",
            "Give each row a group: a row without one could be of any. spec.prepare.tables.schema can require it.",
        )
    return codes(table, name, "split.group")


def _times(table: Table, name: str) -> Codes:
    """Times as numbers: a column of numbers as it is, others as Timestamps."""
    column = table.column(name, "split.time")
    is_whole = pa.types.is_integer(column.type)
    is_number = is_whole or pa.types.is_floating(column.type)
    kind = ColumnType.INTEGER if is_whole else ColumnType.NUMBER if is_number else ColumnType.TIMESTAMP
    parsed = parse(column, kind)
    missing = rows_of(pc.is_null(parsed.values))
    if missing:
        unusable(
            f"split.time: {len(missing)} values of {name} are missing, or no time ({table.places(missing)})",
            "A time is a number, or as in ISO 8601: 2026-11-30, 2026-11-30T08:30:00Z. Without a zone it is UTC.",
        )
    values = parsed.values if is_number else parsed.values.cast(pa.int64())
    # Only their order counts.
    return np.unique(values.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _check_filled(parts: Codes, shares: npt.NDArray[np.float64], how: Split) -> None:
    empty = [name for number, name in enumerate(PARTS) if shares[number] > 0 and not (parts == number).any()]
    if empty:
        by = next((f" by {name}" for name, column in (("time", how.time), ("group", how.group)) if column), "")
        _empty(f"of {len(parts)} rows, split{by}, none is left for {' and '.join(empty)}")


def _empty(message: str) -> NoReturn:
    raise Refused(
        Reason.SPLIT_EMPTY,
        f"split: {message}",
        "Give the part a larger share in spec.prepare.tables.split, or none at all; or use more data.",
    )


def unusable(message: str, hint: str) -> NoReturn:
    """A column that cannot be what it is asked for. Raises Refused (ColumnUnusable)."""
    raise Refused(Reason.COLUMN_UNUSABLE, message, hint)
