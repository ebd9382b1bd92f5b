"""What came of the formats that were asked for is a condition; one that is missing is an Event too."""

from datetime import timedelta

import pytest

from headrace.training.formats import event_of, exportable, formats_exported, with_condition
from headrace.training.job import AttemptContext, launcher_config
from headrace.training.record import parse_record
from headrace.training.stages import part_of
from headrace_common.protocol.parts import ExportTrial
from training_builders import NOW, SETTINGS, record, training_job

DIGEST = "sha256:" + "a" * 64
REASON = "ONNX cannot be made of this model: layer 'sampling' (Sampling) computes StatelessRandomNormalV2"


def told(formats, note="", **spec):
    model = {"uri": "s3://team-a/x/model", "digest": DIGEST, "formats": formats}
    parsed = parse_record(record("Succeeded", NOW, model=model, modelNote=note))
    job = training_job(**{"output": {"model": "text"}, "tracking": {"experiment": "x"}, **spec})
    return formats_exported(job, parsed, NOW)


@pytest.mark.parametrize(("output", "keeps_rows"), [({}, True), ({"inputExample": "None"}, False)])
def test_the_launcher_is_told_whether_rows_of_the_data_may_be_kept(output, keeps_rows):
    job = training_job(output={"model": "text", **output}, tracking={"experiment": "x"})

    assert launcher_config(part_of(job), AttemptContext(1, "image"), SETTINGS).keeps_rows is keeps_rows


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


def test_of_a_program_what_it_handed_over_is_enough_unless_formats_are_named():
    condition = told(["ONNX"], framework="Script")
    assert (condition.reason, condition.message) == ("AllFormatsExported", "exported: ONNX")
    named = told(["ONNX"], framework="Script", output={"model": "text", "formats": ["TensorFlow", "ONNX"]})
    assert named.reason == "SomeFormatsFailed"


@pytest.mark.parametrize(
    ("spec", "formats", "optional"),
    [
        ({}, ("TensorFlow", "ONNX"), ()),
        ({"framework": "Script"}, ("TensorFlow", "ONNX"), ("TensorFlow", "ONNX")),
        ({"framework": "Script", "output": {"model": "text", "formats": ["ONNX"]}}, ("ONNX",), ()),
        ({"output": None}, (), ()),
    ],
)
def test_the_launcher_is_told_which_formats_are_asked_for_and_which_may_come(spec, formats, optional):
    job = training_job(**{"output": {"model": "text"}, "tracking": {"experiment": "x"}, **spec})
    told = launcher_config(part_of(job), AttemptContext(1, "trainer:1", experiment_id="3", bucket="b"), SETTINGS)
    assert (told.formats, told.optional_formats) == (formats, optional)


FAILED = ExportTrial(
    ("ONNX",), "export of model best (tried in 3.2 s, in the middle of the training): ONNX cannot be made: x"
)


@pytest.mark.parametrize(
    ("trial", "told"),
    [
        (ExportTrial((), "ONNX can be made"), ("Exportable", "True", "ExportTrialPassed", "ONNX can be made")),
        (FAILED, ("Exportable", "False", "ExportTrialFailed", FAILED.message)),
    ],
)
def test_what_a_trial_has_shown_is_a_condition(trial, told):
    job = training_job(output={"model": "text"}, tracking={"experiment": "x"})

    condition = exportable(job, trial, NOW)

    assert (condition.type, condition.status.value, condition.reason, condition.message) == told


def test_a_trial_that_failed_for_a_required_format_says_what_that_means_at_the_end():
    job = training_job(output={"model": "text", "requiredFormats": ["ONNX"]}, tracking={"experiment": "x"})

    message = exportable(job, FAILED, NOW).message

    assert message == f"{FAILED.message}; no version will be registered: output.requiredFormats has ONNX"


def test_a_condition_that_stays_as_it_is_keeps_its_time():
    job = training_job(output={"model": "text"}, tracking={"experiment": "x"})
    first, later = exportable(job, FAILED, NOW), exportable(job, FAILED, NOW + timedelta(minutes=1))
    passed = exportable(job, ExportTrial((), "can be made"), NOW + timedelta(minutes=2))

    assert with_condition((first,), later) == (first,)
    assert with_condition((first,), passed) == (passed,)
