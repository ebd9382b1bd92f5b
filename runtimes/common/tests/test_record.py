"""The record fits into a termination message, whatever a script says, and still tells who failed and why."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_common.record import MAX_BYTES, TerminationLog, encode

TEXT = st.text(max_size=6000)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.fixed_dictionaries(
    {
        "protocol": st.just(1),
        "outcome": st.just("Failed"),
        "time": st.integers(0, 2**53),
        "worker": st.integers(0, 1000),
        "class": st.just("UserCode"),
        "reason": st.just("ScriptRaised"),
        "exitCode": st.just(1),
        "message": TEXT,
    },
    optional={
        "hint": st.text(max_size=500),
        "logTail": TEXT,
        "metrics": st.dictionaries(st.text(max_size=120), NUMBER, max_size=200),
        "resume": st.fixed_dictionaries({"message": st.text(max_size=300)}),
        "checkpoint": st.fixed_dictionaries({"uri": st.text(max_size=1500)}),
        "model": st.fixed_dictionaries({"uri": st.text(max_size=1500)}),
        "dataset": st.fixed_dictionaries({"uri": st.text(max_size=1500)}),
        "modelNote": st.text(max_size=600),
    },
)


@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_any_record_fits_and_keeps_the_cause(record):
    text = encode(record)
    assert len(text) <= MAX_BYTES
    shown = json.loads(text)
    cause = ("protocol", "outcome", "time", "worker", "class", "reason", "exitCode")
    assert {name: shown[name] for name in cause} == {name: record[name] for name in cause}


def test_the_log_is_shortened_first_and_from_its_head():
    record = {"message": "m" * 500, "logTail": "old\n" * 1000 + "the last line", "metrics": {"loss": 1.0}}
    shown = json.loads(encode(record))
    assert shown["message"] == "m" * 500
    assert shown["metrics"] == {"loss": 1.0}
    assert shown["logTail"].endswith("the last line")
    assert len(encode(record)) > MAX_BYTES - 10  # no more is lost than has to be


def test_the_message_is_shortened_next_and_from_its_end():
    shown = json.loads(encode({"message": "the cause is " + "é" * 5000, "logTail": "x" * 5000}))
    assert shown["logTail"] == ""
    assert shown["message"].startswith("the cause is é")


def test_why_a_format_is_missing_is_shortened_before_the_model_is_lost():
    model = {"uri": "s3://team-a/" + "x" * 900, "digest": "sha256:" + "a" * 64, "formats": ["TensorFlow"]}
    shown = json.loads(encode({"outcome": "Succeeded", "model": model, "modelNote": "ONNX: " + "é" * 600}))
    assert shown["model"] == model
    assert shown["modelNote"].startswith("ONNX: é")


def test_a_shorter_record_leaves_nothing_of_a_longer_one(tmp_path):
    log = TerminationLog(tmp_path / "termination-log", complain=pytest.fail)
    log.write({"message": "long " * 100})
    log.write({"message": "short"})
    assert (tmp_path / "termination-log").read_text() == '{"message":"short"}'


def test_a_file_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path):
    told = []
    log = TerminationLog(tmp_path / "no" / "folder", complain=told.append)
    log.write({"message": "one"})
    log.write({"message": "two"})
    assert [type(error) for error in told] == [FileNotFoundError]
