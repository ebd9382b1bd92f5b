"""The record and the answer of /progress: what a launcher writes is what the operator reads, and what user code writes
in their place never raises.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace_common.protocol.claims import MAX_TEXT
from headrace_common.protocol.parts import (
    CheckpointReference,
    DatasetReference,
    EvaluationReference,
    ExportTrial,
    LostPeer,
    ModelReference,
    Progress,
    Resume,
    RunReference,
)
from headrace_common.protocol.reasons import RULES, FailureClass, Reason
from headrace_common.protocol.report import Condition, Live, Outcome, Record, State, parse_live, parse_record

COUNT = st.integers(0, 2**53 - 1)
TEXT, WORD = st.text(max_size=MAX_TEXT), st.text(min_size=1, max_size=32)
METRICS = st.dictionaries(WORD, st.floats(allow_nan=False), max_size=4)
RUNS = st.none() | st.builds(RunReference, WORD, WORD)
CHECKPOINTS = st.none() | st.builds(CheckpointReference, WORD, COUNT, COUNT, COUNT, COUNT)
RESUMES = st.none() | st.builds(Resume, COUNT, COUNT, COUNT, COUNT, st.none() | st.booleans(), TEXT)
MODELS = st.none() | st.builds(
    ModelReference,
    WORD,
    st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    st.lists(WORD, max_size=3).map(tuple),
)
DATASETS = st.none() | st.builds(
    DatasetReference,
    WORD,
    WORD,
    st.just("sha256:" + "0" * 64),
    COUNT,
    COUNT,
    st.sampled_from(["", "team-a/text", "7/a.b-c"]),
    st.booleans(),
)
EVALUATIONS = st.none() | st.builds(
    EvaluationReference, st.just("sha256:" + "0" * 64), st.sampled_from(["", "sha256:" + "1" * 64]), COUNT
)
PLACES = {name: st.none() | COUNT for name in ("epoch", "epochs", "step", "steps", "fit")}
PERCENT = st.none() | st.floats(0, 100)
RECORDS = st.builds(
    Record,
    outcome=st.sampled_from(Outcome),
    time_ms=COUNT,
    worker=st.none() | COUNT,
    failure_class=st.just("") | st.sampled_from([str(one) for one in FailureClass]),
    reason=st.just("") | st.sampled_from([str(one) for one in Reason]),
    exit_code=st.none() | st.integers(-255, 255),
    message=TEXT,
    hint=TEXT,
    log_tail=TEXT,
    lost_peer=st.none() | st.builds(LostPeer, st.none() | COUNT),
    progress=st.builds(Progress, percent=PERCENT, **PLACES),
    metrics=METRICS,
    run=RUNS,
    model=MODELS,
    model_note=TEXT,
    checkpoint=CHECKPOINTS,
    resume=RESUMES,
    dataset=DATASETS,
    evaluation=EVALUATIONS,
)
LIVES = st.builds(
    Live,
    state=st.sampled_from([str(one) for one in State]),
    progress=st.just(Progress())
    | st.builds(
        Progress,
        percent=PERCENT,
        **{**PLACES, "step": COUNT},
        eta_seconds=st.none() | COUNT,
        steps_per_second=st.none() | st.floats(0, 1e6),
    ),
    metrics=METRICS,
    run=RUNS,
    checkpoint=CHECKPOINTS,
    resume=RESUMES,
    conditions=st.dictionaries(WORD, st.sampled_from([str(one) for one in Condition]), max_size=3),
    export_trial=st.none() | st.builds(ExportTrial, st.lists(WORD, max_size=3).map(tuple), WORD),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)


@given(RECORDS)
def test_a_record_that_is_written_is_what_is_read(record):
    assert parse_record(json.dumps(record.as_json())) == record


@given(LIVES)
def test_an_answer_of_progress_that_is_written_is_what_is_read(live):
    assert parse_live(json.loads(json.dumps(live.as_json()))) == live


@pytest.mark.parametrize("name", wire_examples.names("record"))
def test_a_record_of_an_earlier_release_is_read_and_written_again(name):
    record = parse_record(wire_examples.text(name))
    assert record is not None
    assert json.dumps(record.as_json(), separators=(",", ":")) == wire_examples.text(name)


@pytest.mark.parametrize("name", wire_examples.names("progress"))
def test_an_answer_of_an_earlier_release_is_read_and_written_again(name):
    live = parse_live(json.loads(wire_examples.text(name)))
    assert live is not None
    assert json.dumps(live.as_json(), separators=(",", ":")) == wire_examples.text(name)


def with_news(value):
    """As a later release may write it: with a field more in every object of a fixed form."""
    if not isinstance(value, dict):
        return value
    free = ("metrics", "conditions")
    return {**{name: one if name in free else with_news(one) for name, one in value.items()}, "later": {"a": [1]}}


@pytest.mark.parametrize("name", [*wire_examples.names("record"), *wire_examples.names("progress")])
def test_what_a_later_launcher_adds_is_left_alone(name):
    told = json.loads(wire_examples.text(name))
    if name.startswith("record"):
        assert parse_record(json.dumps(with_news(told))) == parse_record(json.dumps(told))
    else:
        assert parse_live(with_news(told)) == parse_live(told)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_a_metric_that_is_no_finite_number_goes_by_its_name(value):
    text = json.dumps(Record(Outcome.RUNNING, 1, metrics={"loss": value}).as_json(), allow_nan=False)
    record = parse_record(text)
    assert record is not None
    assert repr(record.metrics) == repr({"loss": value})


@given(st.text() | st.dictionaries(st.text(max_size=9), JSON).map(json.dumps))
def test_no_text_raises(text):
    parse_record(text)


@pytest.mark.parametrize("name", [*wire_examples.names("record"), *wire_examples.names("progress")])
@given(data=st.data())
def test_a_report_with_anything_in_one_of_its_fields_is_read_without_it(name, data):
    told = json.loads(wire_examples.text(name))
    field = data.draw(st.sampled_from(sorted(told)))
    told[field] = data.draw(JSON)
    read = parse_record(json.dumps(told)) if name.startswith("record") else parse_live(told)
    for text in () if read is None else (getattr(read, "message", ""), getattr(read, "state", "")):
        assert len(text) <= MAX_TEXT


@pytest.mark.parametrize(
    "change", [{"protocol": 2}, {"protocol": None}, {"outcome": "Later"}, {"time": -1}, {"time": True}], ids=str
)
def test_what_is_no_record_of_this_protocol_is_none(change):
    told = json.loads(wire_examples.text("record-succeeded"))
    assert parse_record(json.dumps(told | change)) is None


def test_a_model_without_a_digest_of_its_form_is_none():
    told = json.loads(wire_examples.text("record-succeeded"))
    told["model"]["digest"] = "sha256:zz"
    record = parse_record(json.dumps(told))
    assert record is not None
    assert record.model is None


def test_every_reason_has_a_class_and_an_exit_code():
    assert set(RULES) == set(Reason)
    assert {failure_class for failure_class, _ in RULES.values()} == set(FailureClass)
    assert all(1 <= code <= 6 for _, code in RULES.values())


@pytest.mark.parametrize(
    "made_by", ["text", "team-a/", "/text", "Team/a", "team-a/x\nheadrace: done", "n" * 64 + "/x", "n/" + "x" * 254]
)
def test_who_made_a_dataset_is_a_job_or_nobody(made_by):
    told = {"name": "corpus", "uri": "s3://b/x/", "digest": "sha256:" + "0" * 64, "madeBy": made_by}
    found = DatasetReference.parse(told)
    assert found is not None
    assert found.made_by == ""
