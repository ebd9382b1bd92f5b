"""What came of the formats that were asked for is a condition; one that is missing is an Event too."""

import pytest

from headrace.training.formats import event_of, formats_exported
from headrace.training.record import parse_record
from training_builders import NOW, record, training_job

DIGEST = "sha256:" + "a" * 64
REASON = "ONNX cannot be made of this model: layer 'sampling' (Sampling) computes StatelessRandomNormalV2"


def told(formats, note=""):
    model = {"uri": "s3://team-a/x/model", "digest": DIGEST, "formats": formats}
    parsed = parse_record(record("Succeeded", NOW, model=model, modelNote=note))
    job = training_job(output={"model": "text"}, tracking={"experiment": "x"})
    return formats_exported(job, parsed, NOW)


def test_a_format_that_was_not_made_is_named_with_its_reason_as_condition_and_event():
    condition = told(["TensorFlow"], REASON)

    assert (condition.type, condition.status.value, condition.reason) == (
        "FormatsExported",
        "False",
        "SomeFormatsFailed",
    )
    assert condition.message == f"exported: TensorFlow; not exported: ONNX; {REASON}"
    [event] = event_of(condition)
    assert (event.type.value, event.reason, event.message) == ("Warning", "SomeFormatsFailed", condition.message)


@pytest.mark.parametrize(
    ("note", "message"),
    [("", "exported: TensorFlow, ONNX"), ("not compared", "exported: TensorFlow, ONNX; not compared")],
)
def test_where_all_were_made_the_condition_holds_and_there_is_no_event(note, message):
    condition = told(["ONNX", "TensorFlow"], note)

    assert (condition.status.value, condition.reason, condition.message) == ("True", "AllFormatsExported", message)
    assert event_of(condition) == ()


def test_a_format_that_nobody_asked_for_says_nothing_of_those_that_were():
    assert told(["TensorFlow", "CoreML"]).reason == "SomeFormatsFailed"
