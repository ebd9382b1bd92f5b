"""The pages that people read have the numbers that were measured (outcomes.json), not those of an earlier run."""

from __future__ import annotations

import pytest

from gallery.rows import EXAMPLES, ROWS, Row, outcomes

CHOOSING = EXAMPLES.parent / "docs" / "choosing-a-model.md"


@pytest.mark.parametrize("example", sorted({row.example for row in ROWS}))
def test_the_page_of_an_example_has_its_size_and_cost(example: str) -> None:
    [line] = [line for line in _lines(example) if line.startswith("| cost, score |")]
    rows = [row for row in ROWS if row.example == example]
    assert any(all(said in line for said in _size_and_cost(row, "CPU seconds")) for row in rows), line


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_page_that_helps_to_choose_has_the_size_and_cost_of_each_model(row: Row) -> None:
    link = f"../examples/{row.example}/README.md"
    [line] = [line for line in CHOOSING.read_text().splitlines() if line.startswith("|") and link in line]
    *_, cell, _ = line.split("|")
    label = row.name.removeprefix(f"{row.example}: ")
    [said] = [part for part in cell.split(";") if part.strip().startswith(f"{label}: ") or ";" not in cell]
    assert said.strip().removeprefix(f"{label}: ") == ", ".join(_size_and_cost(row, "s"))


def _lines(example: str) -> list[str]:
    return (EXAMPLES / example / "README.md").read_text().splitlines()


def _size_and_cost(row: Row, seconds: str) -> list[str]:
    found = outcomes()[row.name]
    size = [] if found["parameters"] is None else [f"{found['parameters']:,} parameters"]
    return [*size, f"{found['seconds']} {seconds}"]
