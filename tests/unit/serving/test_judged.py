"""Condition FormatJudged: an evaluation runs one of a version's formats, and a service may run another."""

from dataclasses import replace

import pytest

from headrace.api.modelservice import ModelServiceStatus
from headrace.serving.judged import judged_fact
from headrace.serving.observed import Observed
from headrace.serving.revision import render_template
from runtime_builders import PLAIN, runtimes
from serving_builders import artifact, model_service
from training_builders import SETTINGS

ONNX, TENSORFLOW = {"name": "onnxruntime"}, {"name": "tensorflow-serving"}


def revision(number, format):
    model = {"name": artifact(number).model, "version": str(number)} | ({"judgedFormat": format} if format else {})
    return {"revision": f"text-{number}", "digest": artifact(number).digest, "model": model}


def rendered(number, runtime):
    template = render_template(model_service(runtime=runtime), f"text-{number}", artifact(number), SETTINGS)
    return {f"text-{number}": template}


def fact(runtime, templates, settings=SETTINGS, **revisions):
    status = ModelServiceStatus.model_validate(revisions)
    return judged_fact(
        model_service(runtime=runtime),
        status,
        Observed(artifact=None, artifact_problem=None, pods=(), templates=templates),
        settings,
    )


@pytest.mark.parametrize(
    ("format", "runtime", "holds", "reason"),
    [
        ("ONNX", ONNX, True, "Judged"),
        ("TensorFlow", TENSORFLOW, True, "Judged"),
        ("TensorFlow", ONNX, False, "OtherFormatJudged"),
        ("ONNX", TENSORFLOW, False, "OtherFormatJudged"),
    ],
)
@pytest.mark.parametrize("is_rendered", [True, False])
def test_whether_what_serves_was_judged_is_told(format, runtime, holds, reason, is_rendered):
    templates = rendered(1, runtime) if is_rendered else {}

    assert fact(runtime, templates, stable=revision(1, format))[:2] == (holds, reason)


def test_a_format_that_nobody_has_judged_is_told_with_what_to_do():
    found = fact(TENSORFLOW, {}, stable=revision(1, "ONNX"))

    assert found[2] == (
        "version 1 of model team-a.text was judged in the format ONNX, and what serves are its files of the format "
        "TensorFlow, which no evaluation has run: set spec.runtime.name to onnxruntime, or train again with "
        "evaluate.format TensorFlow"
    )


def test_a_format_that_no_evaluation_runs_is_left_to_the_rollout():
    found = fact({"name": "text"}, {}, stable=revision(1, "ONNX"))

    assert found[:2] == (False, "OtherFormatJudged")
    assert found[2].endswith("of the format Text, which evaluations do not run: let the checks of a rollout judge them")


def test_a_format_that_the_services_own_server_takes_is_named_and_no_server_without_an_image():
    both = [{"name": "ONNX"}, {"name": "TensorFlow"}]
    settings = replace(SETTINGS, runtimes=runtimes(both=PLAIN | {"formats": both}, bare=PLAIN | {"image": ""}))

    own = fact({"name": "both"}, {}, settings, stable=revision(1, "TensorFlow"))
    other = fact(TENSORFLOW, {}, settings, stable=revision(1, "ONNX"))

    assert "has run: set spec.runtime.format to TensorFlow, or train again" in own[2]
    assert "has run: set spec.runtime.name to both or onnxruntime, or train again" in other[2]


def test_of_a_version_without_an_evaluation_nothing_is_said():
    assert fact(ONNX, {}, stable=revision(1, None)) is None
    assert fact(ONNX, {}) is None


def test_it_is_said_of_the_canary_too():
    found = fact(ONNX, {}, stable=revision(1, "ONNX"), canary=revision(2, "TensorFlow"))

    assert found[1] == "OtherFormatJudged"
    assert found[2].startswith("version 2 of model team-a.text was judged in the format TensorFlow")


def test_while_another_server_is_rolled_out_each_revision_is_told_by_its_own():
    templates = rendered(1, ONNX)

    found = fact(TENSORFLOW, templates, stable=revision(1, "ONNX"), canary=revision(2, "TensorFlow"))

    assert found[:2] == (True, "Judged")


def test_it_is_no_part_of_what_a_model_is():
    assert replace(artifact(1), judged_format="ONNX") == artifact(1)
