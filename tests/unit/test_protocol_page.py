"""docs/reference/launcher-protocol.md and the loader's README say what the schema says: fields, states, reasons."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import wire_examples
from headrace_common.protocol.config import parse_config
from headrace_common.protocol.load import LoadRequest
from headrace_common.protocol.reasons import RULES
from headrace_common.protocol.report import Condition, Outcome, State, parse_live, parse_record
from headrace_common.protocol.storage import Storage

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "launcher-protocol.md").read_text(encoding="utf-8")
FAILURES = (ROOT / "docs" / "reference" / "failures.md").read_text(encoding="utf-8")
LOADER = (ROOT / "runtimes" / "loader" / "README.md").read_text(encoding="utf-8")
# Whose fields are the user's, or those of Spark and of Kubernetes.
OWN_NAMES = (
    "parameters",
    "metrics",
    "evaluate.data.inputs",
    "heldOut.columns",
    "prepare.spark.settings",
    "prepare.spark.conf",
    "prepare.spark.executor",
)


def first_json(page: str, heading: str) -> Any:
    """The first example below a heading."""
    found = re.search(rf"^## {re.escape(heading)}$.*?^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return json.loads(found[1])


def all_json(page: str, heading: str) -> list[Any]:
    """The examples of whole messages below a heading."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    examples = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL)]
    return [example for example in examples if "protocol" in example]


CONFIGS = all_json(PAGE, "In: `HEADRACE_CONFIG`")
PROGRESS = first_json(PAGE, "Out: `GET :9400/progress`")
RECORD = first_json(PAGE, "Out: the termination message")
LOAD = first_json(LOADER, "In")


def fields(value: Any, where: str = "") -> set[str]:
    """The paths of all fields."""
    if isinstance(value, list):
        return {path for one in value for path in fields(one, f"{where}[]")}
    if not isinstance(value, dict) or where in OWN_NAMES:
        return {where}
    return {path for name, one in value.items() for path in fields(one, f"{where}.{name}".lstrip("."))} | {where}


def of_examples(message: str) -> set[str]:
    return {path for name in wire_examples.names(message) for path in fields(json.loads(wire_examples.text(name)))}


@pytest.mark.parametrize(
    ("message", "shown"),
    [("config", CONFIGS), ("progress", [PROGRESS]), ("record", [RECORD])],
    ids=["config", "progress", "record"],
)
def test_the_page_has_all_fields_that_there_are_and_no_others(message, shown):
    assert {path for example in shown for path in fields(example)} == of_examples(message)


@pytest.mark.parametrize(
    "shown", CONFIGS, ids=["train", "prepare", "held out", "evaluate", "tables", "shaped", "spark", "tune"]
)
def test_the_page_s_instructions_are_understood_and_have_nothing_that_is_not_read(shown):
    assert parse_config(json.dumps(shown)).as_json() == shown


def test_the_page_s_answer_of_progress_is_read_whole():
    shown = PROGRESS | {"state": "Training"}
    live = parse_live(shown)
    assert live is not None
    assert fields(live.as_json()) == fields(shown)


def test_the_page_s_record_is_read_whole():
    shown = RECORD | {"outcome": "Failed", "model": {**RECORD["model"], "digest": "sha256:" + "0" * 64}}
    shown["dataset"] = shown["dataset"] | {"digest": "sha256:" + "0" * 64}
    shown["evaluation"] = dict.fromkeys(RECORD["evaluation"], "sha256:" + "0" * 64) | {"samples": 1, "explained": 1}
    record = parse_record(json.dumps(shown))
    assert record is not None
    assert fields(record.as_json()) == fields(shown)


def test_the_page_names_every_state_condition_and_outcome():
    assert PROGRESS["state"].split("|") == list(State)
    assert PROGRESS["conditions"]["tracking"].split("|") == list(Condition)
    assert RECORD["outcome"].split("|") == list(Outcome)


def test_the_page_s_table_has_every_reason_with_its_class_and_exit_code():
    rows = re.findall(r"^\| (\w+) \| (\w+(?:, \w+)*) \| .* \| (\d) \|$", PAGE, re.MULTILINE)
    told = [(reason, (row[0], int(row[2]))) for row in rows for reason in row[1].split(", ")]
    assert len(told) == len(dict(told))
    assert dict(told) == {str(reason): (str(rule[0]), rule[1]) for reason, rule in RULES.items()}


def test_the_page_of_failures_has_every_reason_of_a_launcher_beside_its_class():
    rows = re.findall(r"^\|.*? \| (\w+) \| (\w+(?:, \w+)*) \|", FAILURES, re.MULTILINE)
    told = {(row[0], reason) for row in rows for reason in row[1].split(", ")}
    assert {(str(failure_class), str(reason)) for reason, (failure_class, _) in RULES.items()} - told == set()


def test_the_loader_s_page_has_all_fields_of_what_it_answers():
    assert fields(first_json(LOADER, "Out: `GET :9400/progress`")) == of_examples("loading")


def test_the_loader_s_page_has_all_fields_of_a_request():
    whole = LoadRequest(
        "s3://b/m", "sha256:", ("ONNX",), Path("/m"), Storage("http://s3", "r"), {"TensorFlow": "tensorflow/1"}, 1, 1, 1
    )
    assert fields(LOAD) == fields(whole.as_json())
