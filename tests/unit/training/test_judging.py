"""What is judged before a version is registered: the gates, and whether the run stands by the launcher's record."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.trainingjob import EvaluationGate
from headrace.tracking.records import Run
from headrace.training.divergence import divergence
from headrace.training.judging import DigestMismatch, judge, metrics_of_model, metrics_to_show, verify

DIGEST = "sha256:" + "a" * 64
RUN = Run("r1", "3", "FINISHED", "s3://team-a/mlflow/x/r1/artifacts", tags={"headrace.digest": DIGEST})
URI = "s3://team-a/mlflow/x/r1/artifacts/model"


def gate(metric="val_accuracy", least=None, most=None):
    return EvaluationGate(metric=metric, min=least, max=most)


@pytest.mark.parametrize(
    ("value", "least", "most", "passed"),
    [
        (0.3, "0.2", None, True),
        (0.2, "0.2", None, True),
        (0.1, "0.2", None, False),
        (0.1, None, "0.2", True),
        (0.3, None, "0.2", False),
        (0.15, "0.1", "0.2", True),
        (float("nan"), "0.1", None, False),
        (float("inf"), "0.1", None, False),
        (float("-inf"), None, "1", False),
        (float("inf"), None, "1", False),
    ],
)
def test_a_gate_asks_for_its_bounds(value, least, most, passed):
    assert judge((gate(least=least, most=most),), {"val_accuracy": value}).passed is passed


def test_a_gate_on_nan_fails_with_that_value():
    [check] = judge((gate("val_loss", most="2"),), {"val_loss": float("nan")}).checks

    assert (check.passed, check.value) == (False, "NaN")


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"loss": 0.5}, ""),
        ({"loss": float("nan"), "val_loss": float("inf"), "f1": float("nan")}, "loss is NaN, val_loss is infinite"),
        ({"epoch/d_loss": float("-inf")}, "epoch/d_loss is infinite"),
        ({"glossary": float("nan")}, ""),
    ],
)
def test_a_training_diverged_when_a_loss_is_no_finite_number(metrics, told):
    assert divergence(metrics) == told


def test_a_metric_that_was_never_logged_fails_its_gate():
    verdict = judge((gate("f1", "0.1"),), {"val_accuracy": 1.0})

    assert not verdict.passed
    assert verdict.checks[0].value is None


def run_with(metrics, told):
    return replace(RUN, metrics=metrics, tags={**RUN.tags, "headrace.model.metrics": told})


@pytest.mark.parametrize(
    ("told", "judged"),
    [
        ('{"val_loss":0.2}', {"val_loss": 0.2, "loss": 0.5}),  # the weights of the best epoch, restored
        ('{"val_loss":null}', {"loss": 0.5}),  # measured on another model
        ('{"eval_loss":0.1}', {"val_loss": 0.9, "loss": 0.5, "eval_loss": 0.1}),
        ('{"val_loss":"Infinity"}', {"val_loss": float("inf"), "loss": 0.5}),
        ('{"eval_loss":0.1,"*":null}', {"eval_loss": 0.1}),  # there were more than a tag holds
        ("{}", {"val_loss": 0.9, "loss": 0.5}),
        ("[1]", {"val_loss": 0.9, "loss": 0.5}),
        ("{", {"val_loss": 0.9, "loss": 0.5}),
        ('{"val_loss":true}', {"loss": 0.5}),
    ],
)
def test_gates_judge_what_was_measured_on_the_registered_model(told, judged):
    assert metrics_of_model(run_with({"val_loss": 0.9, "loss": 0.5}, told)) == judged


def test_a_run_whose_launcher_told_nothing_of_its_model_is_judged_by_its_last_values():
    assert metrics_of_model(replace(RUN, metrics={"f1": 0.7})) == {"f1": 0.7}


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_all_gates_have_to_pass(passes):
    gates = tuple(gate(f"m{index}", Decimal("0.5")) for index in range(len(passes)))
    metrics = {f"m{index}": 1.0 if good else 0.0 for index, good in enumerate(passes)}

    assert judge(gates, metrics).passed is all(passes)


def test_what_the_container_used_is_nothing_to_judge_or_to_name():
    info = {"run_id": "r1", "experiment_id": "3"}
    logged = [{"key": "system/gpu_0_utilization_percentage", "value": 95.0}, {"key": "val_loss", "value": 0.5}]
    run = Run.of({"info": info, "data": {"metrics": logged}})
    assert metrics_of_model(run) == {"val_loss": 0.5}


LOGGED = {"f1": 0.9, "mae": float("nan"), "not a gate's name!": 1.0}


@pytest.mark.parametrize(
    ("reported", "gates", "shown"),
    [
        ({}, (), {"f1": "0.9", "mae": "NaN"}),
        ({}, (gate("f1"),), {"f1": "0.9", "mae": "NaN"}),
        ({"loss": "0.5"}, (), {"loss": "0.5"}),
        ({"loss": "0.5"}, (gate("f1"), gate("recall")), {"f1": "0.9", "loss": "0.5"}),
        ({"f1": "0.8"}, (gate("f1"),), {"f1": "0.8"}),
    ],
)
def test_what_a_program_has_logged_to_mlflow_alone_is_shown(reported, gates, shown):
    run = replace(RUN, metrics=LOGGED)
    assert metrics_to_show(reported, gates, metrics_of_model(run), run) == shown


def test_a_run_that_agrees_with_the_record_is_taken():
    assert verify(RUN, URI, DIGEST) is RUN


@pytest.mark.parametrize(
    ("run", "uri", "digest"),
    [
        (None, URI, DIGEST),
        (RUN, URI, "sha256:" + "b" * 64),
        (RUN, "s3://team-b/mlflow/x/r1/artifacts/model", DIGEST),
        (RUN, "s3://team-a/mlflow/x/r1/artifacts-of-another/model", DIGEST),
        (Run("r1", "3", "FINISHED", RUN.artifact_uri), URI, DIGEST),
    ],
)
def test_a_record_that_the_run_does_not_bear_out_is_refused(run, uri, digest):
    with pytest.raises(DigestMismatch):
        verify(run, uri, digest)
