"""The training part is balanced, and no other."""

from __future__ import annotations

from collections import Counter

import pytest
from table_support import prepare, refused

SPLIT = {"train": "0.6", "validation": "0.2", "test": "0.2", "stratify": "y", "seed": 1}
LINES = "x,y\n" + "".join(f"{row},{'rare' if row % 10 == 0 else 'often'}\n" for row in range(100))


@pytest.fixture
def balanced(tmp_path):
    def make(method):
        return prepare(tmp_path, {"a.csv": LINES}, split=SPLIT, balance={"column": "y", "method": method})

    return make


@pytest.mark.parametrize(("method", "count"), [("Oversample", 54), ("Undersample", 6)])
def test_classes_have_as_many_rows_as_one_another(balanced, method, count):
    made = balanced(method)
    rows = made.rows("train")
    assert Counter(row["y"] for row in rows) == {"rare": count, "often": count}
    times = Counter(row["x"] for row in rows)
    assert max(times.values()) == (9 if method == "Oversample" else 1)
    assert [row["x"] for row in rows] == sorted(row["x"] for row in rows)
    assert Counter(row["y"] for row in made.rows("test")) == {"rare": 2, "often": 18}
    assert made.files == balanced(method).files
    assert made.report["rowsAlsoInTraining"] == {"validation": 0, "test": 0}


def test_weights_make_each_class_count_the_same(balanced):
    made = balanced("Weights")
    sums = Counter()
    for row in made.rows("train"):
        sums[row["y"]] += row["weight"]
    assert sums == pytest.approx({"rare": 30, "often": 30})
    assert "weight" not in made.rows("test")[0]


@pytest.mark.parametrize(
    ("lines", "method", "told"),
    [
        (LINES + "100,\n", "Oversample", "1 rows have no y (row 101)"),
        ("x,y\n" + "1,a\n" * 9, "Weights", "y has 1 different values in the training part"),
        (LINES.replace("x", "weight"), "Weights", "the table has a column weight already"),
    ],
)
def test_what_cannot_be_balanced_is_told(tmp_path, lines, method, told):
    why = refused(tmp_path, {"a.csv": lines}, split=SPLIT, balance={"column": "y", "method": method})
    assert (str(why.reason), told in why.message) == ("ColumnUnusable", True), why.message


def test_a_column_that_is_not_there_is_told(tmp_path):
    why = refused(tmp_path, {"a.csv": LINES}, split=SPLIT, balance={"column": "z", "method": "Weights"})
    assert str(why.reason) == "ColumnNotFound"
