"""Private columns are hidden, the same way each time; what nobody declared is found, as far as the page says."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import re
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_support import KEY, declared, prepare, refused, table

from headrace_common.protocol.reasons import Reason
from headrace_trainer.tables import privacy
from headrace_trainer.tables.detect import detect
from headrace_trainer.tables.types import texts

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "prepare-data.md"
PEOPLE = "name,mail,phone,id,age\nAnn Lee,ann@example.com,+49 30 901820,7,30\nBob Roe,bob@example.com,,8,40\n,,,7,\n"
ACTIONS = {"name": "Drop", "mail": "Mask", "phone": "Tokenize", "id": "Hash"}
PLANTED = ("Ann", "Lee", "ann@", "example.com", "901820", "Bob")


def private(actions, **rest):
    return {"columns": [{"name": name, "action": action} for name, action in actions.items()], **rest}


def test_each_action_hides_its_column_and_leaves_what_is_missing(tmp_path):
    made = prepare(tmp_path, {"a.csv": PEOPLE}, privacy=private(ACTIONS))
    rows = made.rows("data")
    assert [list(row) for row in rows] == [["mail", "phone", "id", "age"]] * 3
    assert [row["mail"] for row in rows] == ["***", "***", None]
    seven, eight = (hmac.new(KEY, text, hashlib.sha256).hexdigest() for text in (b"7", b"8"))
    assert [row["id"] for row in rows] == [seven, eight, seven]
    assert re.fullmatch("tok_[a-z2-7]{26}", rows[0]["phone"])
    assert rows[1]["phone"] is None
    assert made.report["private"] == [
        {"name": "name", "action": "Drop", "values": 2},
        {"name": "mail", "action": "Mask", "values": 2},
        {"name": "phone", "action": "Tokenize", "values": 1},
        {"name": "id", "action": "Hash", "values": 3},
    ]
    for name, content in made.files.items():
        assert not [word for word in PLANTED if word.encode() in content], name


@given(value=st.text(min_size=1), other=st.text(min_size=1))
def test_a_hash_is_of_the_value_and_the_key_a_token_of_the_column_too(value, other):
    data = table(a=[value, value, other], b=[value, other, other])

    def of(action, key=KEY):
        how = declared(privacy=private({"a": action, "b": action})).privacy
        hidden = privacy.apply(data, how, key).data
        return [hidden.column(name).to_pylist() for name in "ab"]

    hashes, tokens = of("Hash"), of("Tokenize")
    for first, second in (hashes, tokens):
        assert first[0] == first[1]
        assert (first[0] == first[2]) == (value == other)
        assert (second[0] == second[1]) == (value == other)
    assert hashes[0][0] == hashes[1][0]
    assert tokens[0][0] != tokens[1][0]
    assert of("Hash", b"another key of some length")[0][0] != hashes[0][0]
    assert of("Tokenize", b"another key of some length")[0][0] != tokens[0][0]


@pytest.mark.parametrize("values", [[3, None], [3.0, None], ["3", None]])
def test_the_same_value_has_the_same_hash_whatever_it_is_kept_as(values):
    how = declared(privacy=private({"a": "Hash"})).privacy
    first, missing = privacy.apply(table(a=values), how, KEY).data.column("a").to_pylist()
    assert (first, missing) == (hmac.new(KEY, b"3", hashlib.sha256).hexdigest(), None)


def test_rows_may_be_split_by_a_column_that_is_hidden(tmp_path):
    lines = "patient,x\n" + "".join(f"{row % 10},{row}\n" for row in range(100))
    how = {"train": "0.8", "test": "0.2", "group": "patient"}
    made = prepare(tmp_path, {"a.csv": lines}, split=how, privacy=private({"patient": "Drop"}))
    groups = [{row["x"] % 10 for row in made.rows(part)} for part in ("train", "test")]
    assert (len(groups[0] & groups[1]), len(groups[1]), list(made.rows("test")[0])) == (0, 2, ["x"])


def test_a_column_that_is_not_there_is_told(tmp_path):
    why = refused(tmp_path, {"a.csv": "x\n1\n"}, privacy=private({"mail": "Drop"}))
    assert why.reason is Reason.COLUMN_NOT_FOUND
    assert "privacy names the column mail, and the table has x" in why.message


def test_what_is_left_is_looked_at_and_told_or_refused(tmp_path):
    files = {"a.csv": PEOPLE.replace("name,", "note,").replace("mail,", "contact,")}
    made = prepare(tmp_path, files, privacy=private({"phone": "Mask"}, detect="Report"))
    assert made.report["found"] == [{"column": "contact", "what": "e-mail address", "rows": 2}]
    [(subject, text)] = made.told
    assert (subject, "contact: e-mail address (2 rows)" in text) == ("privacy", True)

    why = refused(tmp_path, files, privacy=private({}, detect="Refuse"))
    assert why.reason is Reason.PRIVATE_DATA_FOUND
    assert "phone: telephone number (1 rows)" in why.message
    assert not [word for word in PLANTED if word in why.message]
    kept = prepare(tmp_path, files, privacy=private({"contact": "Keep", "phone": "Drop"}, detect="Refuse"))
    assert kept.report["found"] == []
    assert kept.rows("data")[0]["contact"] == "ann@example.com"


@pytest.mark.parametrize("name", ["E-Mail", "first_name", "lastName", "Phone", "date of birth", "IBAN"])
def test_the_name_of_a_column_may_tell(name):
    assert [str(one.kind) for one in detect(table(**{name: ["x"]}), (), (), "")] == ["name of the column"]


def test_numbers_that_are_no_cards_are_not_told_as_such():
    numbers = [4000000000000000 + 7919 * number for number in range(500)]
    assert detect(table(order=numbers), (), (), "") == []
    assert [one.rows for one in detect(table(order=["4111 1111 1111 1111", *map(str, range(500))]), (), (), "")] == [1]


def planted():
    """The rows of the page's table: an example, whether it is found without a country, and with the country DE."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("<!-- planted -->") : text.index("<!-- /planted -->")]
    return [
        tuple(cell.strip() for cell in line.strip("|\n").split("|")) for line in section.splitlines()[3:] if "|" in line
    ]


@pytest.mark.parametrize("row", planted() if PAGE.exists() and "<!-- planted -->" in PAGE.read_text() else [])
def test_the_page_says_what_is_found_of_a_planted_set_and_what_is_missed(row):
    what, example, alone, with_country = row
    value = json.loads(f'"{example.strip("`")}"')
    found = [" and ".join(str(one.kind) for one in detect(table(c=[value]), (), (), region)) for region in ("", "DE")]
    assert [found[0] or "missed", found[1] or "missed"] == [alone, with_country], what


@pytest.mark.parametrize("values", [[4111111111111111.0, None], [Decimal(4111111111111111), None]])
def test_numbers_are_looked_at_whatever_they_are_kept_as(values):
    [found] = detect(table(x=values), (), (), "")
    assert (found.column, str(found.kind), found.rows) == ("x", "payment card", 1)
    assert not detect(table(x=[0.4111111111111111, 1e300]), (), (), "")


def test_one_moment_has_one_text_in_whatever_zone(monkeypatch):
    moment = datetime.datetime(2026, 11, 30, 8, 30, tzinfo=datetime.UTC)
    kinds = [pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Berlin"), pa.timestamp("us", "no/such/zone")]
    values = {texts(pa.chunked_array([pa.array([moment]).cast(kind)]))[0].as_py() for kind in kinds}
    assert values == {"2026-11-30 08:30:00.000000Z"}
