"""The reference page of a kind: every field and rule of the schema is on it."""

from headrace.api.crd import root_schema
from headrace.api.modelservice import ModelService
from headrace.api.reference import reference_page
from headrace.api.trainingjob import TrainingJob

PAGE = reference_page(TrainingJob)


def test_a_field_has_a_row_with_type_default_and_bounds():
    assert "| `keep` | integer | `3` | How many checkpoints of an attempt are kept. From 1 to 100. |" in PAGE


def test_a_field_without_a_default_that_has_to_be_set_says_so():
    assert "| `entrypoint` | string | required |" in PAGE


def test_a_pattern_is_told_in_words():
    row = next(line for line in PAGE.splitlines() if line.startswith("| `interval`"))
    assert "Must be a duration such as 250ms, 30s, 5m or 1h30m." in row
    assert "Must be a duration from 10s to 24h." in row


def test_items_of_a_list_have_a_section():
    assert "### `spec.evaluation.gates[]`" in PAGE


def test_every_section_of_the_spec_is_on_the_page():
    for page, kind in ((PAGE, TrainingJob), (reference_page(ModelService), ModelService)):
        for name in root_schema(kind)["properties"]["spec"]["properties"]:
            assert f"| `{name}` |" in page


def test_the_same_words_about_several_fields_are_said_once():
    lines = [line for line in PAGE.splitlines() if "cannot be changed" in line]
    assert len(lines) == 1
    assert "`entrypoint`" in lines[0]
    assert "`suspend`," not in lines[0]


def test_columns_are_listed_with_where_they_come_from():
    assert "| TRY | `.status.columns.try` | always |" in PAGE
    assert "| GATE | `.status.columns.gate` | with `-o wide` |" in PAGE
