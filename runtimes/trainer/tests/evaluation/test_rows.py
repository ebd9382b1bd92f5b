"""What is known of the rows beside what a model says of them."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from headrace_common.protocol.evaluate import parse_evaluate
from headrace_common.protocol.fields import Fields
from headrace_trainer.evaluation.data.read import read
from headrace_trainer.evaluation.data.table import Table
from headrace_trainer.evaluation.data.values import values_of
from headrace_trainer.evaluation.main import left_out
from headrace_trainer.evaluation.rows import rows_of


def of(columns, **wanted):
    asked = {"task": "Classification", "model": {"uri": "s3://b/m", "digest": "sha256:" + "0" * 64}}
    asked |= {"data": {"dataset": "heldout", **wanted.pop("data", {})}, **wanted}
    evaluate = parse_evaluate(Fields(asked, "evaluate"), "evaluate")
    table = columns if isinstance(columns, Table) else None
    return rows_of(
        table or Table({name: np.asarray(values) for name, values in columns.items()}, "dataset heldout"), evaluate
    )


@pytest.mark.parametrize("values", [["a", None, "b"], [1.0, np.nan, 2.0], [True, None, False]])
def test_a_missing_value_has_its_whole_name_however_short_the_others_are(values):
    column = np.array(values, dtype=None if isinstance(values[0], float) else object)
    assert "missing" in values_of(Table({"region": column}, "heldout"), "region", "evaluate.slices").names


def test_a_row_that_weighs_nothing_is_no_row():
    rows = of(
        {
            "label": ["a", "b", "a", "b"],
            "x": [1.0, 2.0, 3.0, 4.0],
            "w": [1.0, 0.0, 2.0, 0.0],
            "sex": ["f", "m", "f", "m"],
            "spare": [1.0],
        },
        data={"weight": "w"},
        sensitive=["sex"],
    )
    assert rows.count == 2
    assert rows.weights.tolist() == [1, 2]
    assert rows.table.columns["x"].tolist() == [1, 3]
    assert rows.sensitive["sex"].names == ("f",)


def test_groups_that_are_too_many_to_be_compared_are_told():
    """Else a fairness gate passes, and nobody knows that rare groups were not looked at."""
    names = [f"town-{number}" for number in range(60)]
    rows = of({"label": ["a", "b"] * 30, "town": names}, sensitive=["town"])
    (told,) = left_out(rows)
    assert "town" in told
    assert "50 are compared" in told
    assert "10 rarer ones" in told


def test_a_csv_has_the_texts_that_stand_in_it_and_numbers_where_all_are(tmp_path):
    """NA is Namibia, and None a class; beside numbers it is a missing one."""
    text = "region,label,amount,flag\nNA,None,1.5,True\nEU,null,NA,False\n,b,nan,True\n"
    (tmp_path / "test.csv").write_text(text)
    table = read(tmp_path, "test.csv", "heldout").columns
    assert table["region"].tolist()[:2] == ["NA", "EU"]
    assert pandas.isna(table["region"][2])
    assert table["label"].tolist() == ["None", "null", "b"]
    assert table["amount"].dtype == np.float64
    assert np.isnan(table["amount"]).tolist() == [False, True, True]
    assert table["flag"].dtype == bool


def test_slices_groups_and_sensitive_columns_of_a_csv_are_the_texts_that_stand_in_it(tmp_path):
    """A zip code that lost its 0 is another town, and a gate of zip=01067 would find no row."""
    text = (
        "label,zip,rate,flag,patient,w\na,01067,0.5,True,007,1\nb,1067,0.50,False,7,1\na,NA,1.0,True,007,0\nb,,2,,8,1\n"
    )
    (tmp_path / "test.csv").write_text(text)
    (tmp_path / "more").mkdir()
    for name in ("a", "b"):
        (tmp_path / "more" / f"{name}.csv").write_text(text)
    asked = ("zip", "rate", "flag", "patient")
    table = read(tmp_path, "test.csv", "heldout", asked)
    wanted = {"data": {"group": "patient"}, "slices": ["zip", "rate"], "sensitive": ["flag"]}

    rows = of(table, **wanted)

    assert rows.slices["zip"].names == ("01067", "1067", "missing")  # NA beside numbers is none
    assert rows.slices["zip"].of.tolist() == [0, 1, 2, 2]
    assert rows.slices["rate"].names == ("0.5", "0.50", "1.0", "2")
    assert rows.sensitive["flag"].names == ("False", "True", "missing")
    assert len(set(rows.groups)) == 3
    assert table.columns["zip"].dtype == table.columns["rate"].dtype == np.float64  # as an input it is a number
    assert of(read(tmp_path, "more", "heldout", asked), **wanted).count == 8
    weighed = of(table, **wanted | {"data": {"group": "patient", "weight": "w"}})
    assert (weighed.count, weighed.slices["rate"].names) == (3, ("0.5", "0.50", "2"))
