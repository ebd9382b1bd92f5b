"""A launcher's record is a claim of user code: whatever it holds, it is bounded or ignored, and never raises."""

import json

from hypothesis import given
from hypothesis import strategies as st

from headrace.api.scalars import format_decimal
from headrace.training.record import MAX_METRICS, parse_record, read_live
from headrace_common.protocol.claims import MAX_TEXT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)
FIELDS = st.sampled_from(
    [
        "class",
        "reason",
        "exitCode",
        "message",
        "hint",
        "logTail",
        "lostPeer",
        "progress",
        "metrics",
        "run",
        "model",
        "modelNote",
        "checkpoint",
        "resume",
        "time",
        "outcome",
    ]
)


@given(st.text())
def test_any_text_is_a_record_or_none(text):
    parse_record(text)


@given(st.dictionaries(FIELDS, JSON))
def test_any_fields_give_a_bounded_record_or_none(fields):
    record = parse_record(json.dumps({"outcome": "Failed", "time": 1} | fields | {"protocol": 1}))

    if record is not None:
        assert len(record.message) <= MAX_TEXT
        assert len(record.model_note) <= MAX_TEXT
        assert len(record.metrics) <= MAX_METRICS
        assert all(isinstance(value, float) for value in record.metrics.values())
        assert record.progress.percent is None or 0 <= record.progress.percent <= 100


@given(st.dictionaries(st.text(max_size=12), JSON))
def test_any_answer_of_progress_is_read_or_ignored(answer):
    read_live(answer)
    read_live(answer | {"protocol": 1})


def test_a_log_tail_is_no_record():
    assert parse_record("Traceback (most recent call last):\n  ...") is None


def test_of_a_long_log_tail_the_end_is_kept_which_has_the_cause():
    tail = "a library's own words at its start\n" * 100 + "ValueError: no data today"

    record = parse_record(json.dumps({"protocol": 1, "outcome": "Failed", "time": 1, "logTail": tail}))

    assert record is not None
    assert record.log_tail == tail[-MAX_TEXT:]


def test_another_protocol_is_no_record():
    assert parse_record('{"protocol": 2, "outcome": "Succeeded", "time": 1}') is None


def test_metrics_that_are_no_finite_numbers_come_by_name():
    metrics = {
        "loss": "NaN",
        "val_loss": "Infinity",
        "other": "-Infinity",
        "text": "high",
        "a//b": 1,
        "val_prc:auc": 0.5,
    }
    text = json.dumps({"protocol": 1, "outcome": "Succeeded", "time": 1, "metrics": metrics})

    record = parse_record(text)

    assert record is not None
    told = {name: format_decimal(value) for name, value in record.metrics.items()}
    assert told == {"loss": "NaN", "val_loss": "Infinity", "other": "-Infinity", "val_prc:auc": "0.5"}


def test_a_model_needs_a_digest_of_the_right_form():
    model = {"uri": "s3://team-a/m", "digest": "sha256:zz"}
    text = json.dumps({"protocol": 1, "outcome": "Succeeded", "time": 1, "model": model})

    record = parse_record(text)

    assert record is not None
    assert record.model is None
