"""Parts have the shares that were asked for, and leak nothing: by property, and planted leaks are found."""

from __future__ import annotations

import itertools
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_support import declared, prepare, refused, table

from headrace_common.protocol.reasons import Reason
from headrace_trainer.tables.refusal import Refused
from headrace_trainer.tables.split import by_chance, check_leaks, split

SHARES = st.tuples(st.integers(1, 20), st.integers(0, 10), st.integers(0, 10)).map(
    lambda counts: [Decimal(count) for count in counts]
)
THREE = {"train": "0.6", "validation": "0.2", "test": "0.2"}


def asked(shares):
    """Decimals that make 1: the last one takes what is left over."""
    total = sum(shares)
    validation, test = (round(share / total, 3) for share in shares[1:])
    return {"train": str(1 - validation - test), "validation": str(validation), "test": str(test)}


def shares_in(how):
    return np.array([float(how[name]) for name in ("train", "validation", "test")])


@settings(max_examples=200, deadline=None)
@given(classes=st.lists(st.integers(0, 5), min_size=1, max_size=200), shares=SHARES, seed=st.integers(0, 2**32 - 1))
def test_each_class_has_its_share_of_each_part_to_within_a_row(classes, shares, seed):
    labels, share = np.array(classes), shares_in(asked(shares))
    parts = by_chance(labels, share, seed)
    for label in set(classes):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert (np.abs(counts - share * (labels == label).sum()) < 1 + 1e-6).all()
    assert (parts == by_chance(labels, share, seed)).all()
    assert share[np.unique(parts)].min() > 0
    # All classes together are near, too: what is left over goes where most is wanting.
    assert (np.abs(np.bincount(parts, minlength=3) - share * len(classes)) < len(set(classes)) + 1).all()


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=150),
    shares=SHARES,
    seed=st.integers(0, 1000),
    stratify=st.booleans(),
)
def test_a_group_is_in_one_part_and_no_part_is_empty(rows, shares, seed, stratify):
    groups, labels = ([row[index] for row in rows] for index in (0, 1))
    how = asked(shares) | {"seed": seed, "group": "g"} | ({"stratify": "y"} if stratify else {})
    data = table(g=groups, y=labels)
    wanted = {number for number, share in enumerate(shares_in(how)) if share > 0}
    if len(set(groups)) < len(wanted):
        with pytest.raises(Refused, match="groups cannot fill"):
            split(data, declared(split=how).split)
        return
    parts = split(data, declared(split=how).split)
    where = {}
    for group, part in zip(groups, parts, strict=True):
        assert where.setdefault(group, part) == part
    assert set(parts) == wanted
    assert (parts == split(data, declared(split=how).split)).all()


@settings(max_examples=150, deadline=None)
@given(times=st.lists(st.integers(0, 60), min_size=1, max_size=150), shares=SHARES)
def test_no_row_is_as_early_as_one_of_an_earlier_part(times, shares):
    how = asked(shares) | {"time": "t"}
    try:
        parts = split(table(t=times), declared(split=how).split)
    except Refused as why:
        if why.reason is not Reason.SPLIT_EMPTY:
            raise
        return
    present = [[time for time, part in zip(times, parts, strict=True) if part == number] for number in range(3)]
    filled = [part for part in present if part]
    assert all(max(before) < min(after) for before, after in itertools.pairwise(filled))
    assert [bool(part) for part in present] == [share > 0 for share in shares_in(how)]


def test_many_small_groups_come_near_to_the_shares_and_to_the_classes():
    random = np.random.RandomState(0)
    groups = random.randint(0, 300, 3000)
    labels = (random.rand(3000) < 0.1 + 0.3 * (groups % 3 == 0)).astype(int)
    data = table(g=groups.tolist(), y=labels.tolist())
    parts = split(data, declared(split=THREE | {"group": "g", "stratify": "y"}).split)
    assert np.bincount(parts) == pytest.approx([1800, 600, 600], abs=15)
    rates = [labels[parts == part].mean() for part in range(3)]
    assert rates == pytest.approx([labels.mean()] * 3, abs=0.01)


def test_times_are_compared_as_moments_whatever_they_are_written_as():
    times = ["2026-11-30T09:00:00+02:00", "2026-11-30T08:00:00Z", "2026-11-30", "2026-11-29", "2026-11-30 07:30"]
    parts = split(table(t=times), declared(split={"train": "0.8", "test": "0.2", "time": "t"}).split)
    assert parts.tolist() == [0, 2, 0, 0, 0]


def test_rows_keep_their_order_and_each_is_in_one_part(tmp_path):
    lines = "x,y\n" + "".join(f"{row},{row % 3}\n" for row in range(100))
    made = prepare(tmp_path, {"a.csv": lines}, split=THREE | {"stratify": "y", "seed": 3})
    parts = [[row["x"] for row in made.rows(part)] for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert all(part == sorted(part) for part in parts)
    assert sorted(row for part in parts for row in part) == list(range(100))
    assert sorted(made.report["classes"]["y"]["test"].values()) == [6, 7, 7]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    lines = "x\n" + "".join(f"{row}\n" for row in range(100))
    one, same, other = (
        prepare(tmp_path, {"a.csv": lines}, split=THREE | {"seed": seed}).files["train.parquet"] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_class_of_one_row_is_no_error():
    parts = split(table(y=["a"] * 9 + ["b"]), declared(split=THREE | {"stratify": "y"}).split)
    assert Counter(parts.tolist()) == {0: 6, 1: 2, 2: 2}


@pytest.mark.parametrize(
    ("lines", "how", "reason", "told"),
    [
        ("x\n1\n2\n", THREE, "SplitEmpty", "of 2 rows, split, none is left for"),
        ("t\n1\n1\n1\n", THREE | {"time": "t"}, "SplitEmpty", "of 3 rows, split by time, none is left for"),
        ("g\na\nb\n", THREE | {"group": "g"}, "SplitEmpty", "2 groups cannot fill 3 parts"),
        (
            "g,t\na,1\nb,2\nb,3\nc,4\na,5\n",
            THREE | {"group": "g", "time": "t"},
            "SplitLeaks",
            "1 of 3 groups of split.group have rows in more than one part",
        ),
        (
            "x\n1\n",
            THREE | {"stratify": "y"},
            "ColumnNotFound",
            "split.stratify names the column y, and the table has x",
        ),
        ("x\n1\n", THREE | {"group": "g"}, "ColumnNotFound", "split.group names the column g"),
        ("x\n1\n", THREE | {"time": "t"}, "ColumnNotFound", "split.time names the column t"),
        ("g,x\na,1\n,2\n", THREE | {"group": "g"}, "ColumnUnusable", "1 rows have no g (row 2)"),
        ("t\n1\nsoon\n", THREE | {"time": "t"}, "ColumnUnusable", "values of t are missing, or no time (row"),
        ("t,x\n2026-01-01,1\n,2\n", THREE | {"time": "t"}, "ColumnUnusable", "1 values of t are missing"),
    ],
)
def test_what_cannot_be_split_is_told(tmp_path, lines, how, reason, told):
    why = refused(tmp_path, {"a.csv": lines}, split=how)
    assert (str(why.reason), told in why.message) == (reason, True), why.message


def test_groups_that_fit_may_be_split_by_time():
    data = table(g=["a", "a", "b", "c", "c"], t=[1, 2, 3, 4, 5])
    how = {"train": "0.4", "validation": "0.2", "test": "0.4", "group": "g", "time": "t"}
    assert split(data, declared(split=how).split).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("planted", ["group", "time"])
def test_a_planted_leak_is_found(planted):
    parts, groups, times = np.array([0, 0, 1, 2]), np.array([1, 1, 2, 3]), np.array([1, 2, 3, 4])
    check_leaks(parts, groups, times)
    if planted == "group":
        groups[3] = 1
    else:
        times[3] = 2
    with pytest.raises(Refused) as raised:
        check_leaks(parts, groups, times)
    assert raised.value.reason is Reason.SPLIT_LEAKS


def test_rows_that_are_in_two_parts_by_their_values_are_counted_and_told(tmp_path):
    made = prepare(tmp_path, {"a.csv": "x,y\n" + "1,2\n" * 10}, split=THREE)
    assert made.report["rowsAlsoInTraining"] == {"validation": 2, "test": 2}
    assert made.told[0][0] == "split"
    assert "2 rows of validation and 2 rows of test are in the training part too" in made.told[0][1]


def test_lists_are_no_groups():
    with pytest.raises(Refused) as raised:
        split(table(g=[[1], [2]]), declared(split={"train": "0.5", "test": "0.5", "group": "g"}).split)
    assert raised.value.reason is Reason.COLUMN_UNUSABLE
    assert "the values of g are of type list" in raised.value.message
