"""A training that went to its end: what becomes of its model."""

import pytest

from headrace.training.observed import Observed
from headrace.training.record import read_live
from training_builders import (
    NOW,
    batch_job,
    pod,
    record,
    training_job,
)
from training_looks import CANNOT, NOTHING, SECOND, STOPPED, WITH_OUTPUT, look, under_way


def succeeded(**fields):
    done = record("Succeeded", NOW, **fields)
    return (
        pod(0, "Succeeded", exit_code=0, message=done),
        pod(1, "Succeeded", exit_code=0, message=record("Succeeded", NOW)),
    )


def test_a_job_that_trained_to_the_end_succeeds_with_its_final_metrics():
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), succeeded(metrics={"loss": 0.5}), None)

    planned = look(training_job(under_way()), observed)

    assert (planned.status["state"], planned.status["reason"]) == ("Succeeded", "Trained")
    assert planned.status["metrics"] == {"loss": "0.5"}
    assert planned.status["columns"]["progress"] == "100%"
    assert len(planned.patches) == 2


@pytest.mark.parametrize("asks_for_a_model", [True, False])
def test_of_several_models_that_could_be_meant_none_is_registered(asks_for_a_model):
    said = "2 models could be meant, and the script names none: 1. gan (trained by fit), 2. critic (trained by fit)"
    output = {"output": {"model": "text"}, "tracking": {"experiment": "e"}} if asks_for_a_model else {}
    observed = Observed(
        (batch_job(conditions=(("Complete", ""),)),), succeeded(reason="AmbiguousModel", message=said), None
    )

    planned = look(training_job(under_way(), **output), observed)

    reason = "AmbiguousModel" if asks_for_a_model else "Trained"
    assert (planned.status["state"], planned.status["reason"]) == ("Succeeded", reason)
    assert "model" not in planned.status
    if asks_for_a_model:
        assert said in planned.status["message"]
        assert "headrace_client.export(model)" in planned.status["message"]
        assert [(event.type.value, event.reason) for event in planned.events] == [("Warning", "AmbiguousModel")]


@pytest.mark.parametrize("suspend", [False, True])
def test_a_job_that_went_after_all_trained_to_the_end_succeeds(suspend):
    done = pod(0, "Failed", exit_code=0, message=record("Succeeded", NOW, metrics={"loss": 0.5}), **STOPPED)
    job = training_job(under_way(), workers=1, suspend=suspend)

    planned = look(job, Observed((), (done,), None), now=NOW + 80 * SECOND)

    assert (planned.status["state"], planned.status["metrics"]) == ("Succeeded", {"loss": "0.5"})


def test_with_an_output_the_intent_to_register_comes_into_status_first():
    model = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": "sha256:" + "a" * 64, "formats": ["ONNX"]}
    job = training_job(under_way(), output={"model": "text"}, tracking={"experiment": "x"})
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), succeeded(model=model), None)

    planned = look(job, observed)

    assert planned.status["state"] == "Finishing"
    assert planned.status["model"]["name"] == "team-a.text"
    assert planned.status["model"]["digest"] == model["digest"]
    assert planned.requeue_after == 0.0


def test_a_format_that_was_not_made_is_told_when_the_training_ends_and_stays_in_status():
    model = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": "sha256:" + "a" * 64, "formats": ["TensorFlow"]}
    job = training_job(under_way(), output={"model": "text"}, tracking={"experiment": "x"})
    done = succeeded(model=model, modelNote="ONNX cannot be made")
    planned = look(job, Observed((batch_job(conditions=(("Complete", ""),)),), done, None))

    later = look(training_job(planned.status, output={"model": "text"}, tracking={"experiment": "x"}), NOTHING)

    assert [event.reason for event in planned.events] == ["SomeFormatsFailed"]
    for status in (planned.status, later.status):
        [condition] = [c for c in status["conditions"] if c["type"] == "FormatsExported"]
        assert (condition["status"], condition["reason"]) == ("False", "SomeFormatsFailed")
    assert later.events == ()


def test_the_export_at_the_end_takes_the_place_of_its_trial():
    job = training_job(under_way(), workers=1, **WITH_OUTPUT)
    trained = look(job, Observed((batch_job(),), (pod(0),), None, live=read_live(CANNOT))).status
    model = {"uri": "s3://team-a/x", "digest": "sha256:" + "a" * 64, "formats": ["TensorFlow", "ONNX"]}
    done = Observed((batch_job(conditions=(("Complete", ""),)),), succeeded(model=model)[:1], None)

    ended = look(training_job(trained, workers=1, **WITH_OUTPUT), done).status

    conditions = {c["type"]: c["status"] for c in ended["conditions"]}
    assert conditions["FormatsExported"] == "True"
    assert "Exportable" not in conditions


def test_where_a_required_format_was_not_made_the_job_succeeds_without_a_version():
    model = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": "sha256:" + "a" * 64, "formats": ["TensorFlow"]}
    output = {"model": "text", "requiredFormats": ["ONNX"]}
    job = training_job(under_way(), output=output, tracking={"experiment": "x"})
    done = succeeded(model=model, modelNote="ONNX cannot be made of this model: no such operator")

    planned = look(job, Observed((batch_job(conditions=(("Complete", ""),)),), done, None))

    status = planned.status
    assert (status["state"], status["reason"]) == ("Succeeded", "RequiredFormatMissing")
    assert status["message"] == (
        "not registered: output.requiredFormats has ONNX; exported: TensorFlow; not exported: ONNX; "
        "ONNX cannot be made of this model: no such operator"
    )
    assert (status["failure"]["class"], status["failure"]["reason"]) == ("Gate", "RequiredFormatMissing")
    assert (status["model"]["uri"], status["model"].get("version")) == (model["uri"], None)
    assert [(event.type.value, event.reason) for event in planned.events] == [("Warning", "RequiredFormatMissing")]
    assert look(training_job(status, output=output, tracking={"experiment": "x"}), NOTHING).events == ()


def test_a_format_that_is_not_required_keeps_no_version_back():
    model = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": "sha256:" + "a" * 64, "formats": ["TensorFlow"]}
    output = {"model": "text", "requiredFormats": ["TensorFlow"]}
    job = training_job(under_way(), output=output, tracking={"experiment": "x"})

    planned = look(job, Observed((batch_job(conditions=(("Complete", ""),)),), succeeded(model=model), None))

    assert planned.status["state"] == "Finishing"
