"""The gates of spec.evaluate, by what the run of the stage has."""

import asyncio
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.trainingjob import Evaluate, EvaluationStatus
from headrace.tracking.errors import RunDeleted
from headrace.tracking.records import ModelVersion, Run
from headrace.training.evaluation_gates import judge_evaluation, shown_metrics
from headrace.training.finish import finish
from headrace.training.judging import DigestMismatch
from training_builders import BASELINE, EVALUATE, JUDGED, MODEL, NOW, UID, training_job

DIGEST = MODEL["digest"]
COMPARED = EvaluationStatus.model_validate({"format": "ONNX", "baseline": BASELINE, "samples": 1200})
ALONE = EvaluationStatus(format="ONNX")
GOOD = {
    "accuracy": 0.93,
    "baseline/accuracy": 0.94,
    "difference_low/accuracy": -0.02,
    "difference_high/accuracy": 0.0,
    "worse_by/accuracy": 0.001,
    "samples/accuracy": 1200.0,
    "accuracy/region:north": 0.85,
    "samples/accuracy/region:north": 300.0,
    "accuracy/region:south": 0.95,
    "equalized_odds_difference/sex": 0.04,
}


def judged(measured, *gates, known=COMPARED):
    evaluate = Evaluate.model_validate(EVALUATE | ({"gates": list(gates)} if gates else {}))
    return judge_evaluation(evaluate, known, measured)


def test_a_check_has_all_that_was_measured_of_it():
    whole, north, odds = judged(GOOD)

    assert (whole.metric, whole.slice, whole.value, whole.baseline) == ("evaluate/accuracy", "", "0.93", "0.94")
    assert (whole.low, whole.high, whole.worse_by, whole.samples) == ("-0.02", "0", "0.001", 1200)
    assert (whole.max_regression, whole.confidence, whole.passed) == (Decimal("0.02"), Decimal("0.95"), True)
    assert (whole.compared, north.compared) == (True, None)  # where it was asked for
    assert (north.slice, north.value, north.samples, north.confidence) == ("region=north", "0.85", 300, None)
    assert (odds.metric, odds.slice, odds.value) == ("evaluate/equalized_odds_difference", "sex", "0.04")
    assert north.passed
    assert odds.passed


@pytest.mark.parametrize(
    ("worse_by", "passed"),
    [
        (-0.5, True),
        (0.0, True),
        (0.02, True),  # up to it
        (0.0200001, False),
        (math.nan, False),
        (math.inf, False),
        (-math.inf, False),
        (None, False),
    ],
    ids=str,
)
def test_a_model_may_be_worse_by_as_much_as_was_said(worse_by, passed):
    measured = {**GOOD, "worse_by/accuracy": worse_by} if worse_by is not None else {"accuracy": 0.93}
    [check] = judged(measured, {"metric": "accuracy", "maxRegression": "0.02"})

    assert check.passed is passed


@pytest.mark.parametrize(
    ("value", "passed"), [(0.9, True), (0.8999, False), (math.nan, False), (math.inf, False)], ids=str
)
def test_the_value_has_its_own_bounds(value, passed):
    assert judged({**GOOD, "accuracy": value})[0].passed is passed


def test_without_a_baseline_only_the_absolute_bounds_hold():
    measured = {"accuracy": 0.93}
    check = judged(measured, {"metric": "accuracy", "maxRegression": "0"}, known=ALONE)[0]
    assert (check.passed, check.compared, check.baseline, check.worse_by) == (True, False, None, None)

    both = {"metric": "accuracy", "min": "0.95", "maxRegression": "0"}
    assert not judged(measured, both, known=ALONE)[0].passed
    assert not judged({}, {"metric": "accuracy", "maxRegression": "0"}, known=ALONE)[0].passed


@given(st.dictionaries(st.text(max_size=20), st.floats(), max_size=5))
def test_a_gate_whose_metric_is_not_there_never_passes(measured):
    measured.pop("f1", None)
    assert not judged(measured, {"metric": "f1", "min": "-1000000"})[0].passed


@pytest.mark.parametrize(
    ("tags", "averaged", "words"),
    [
        ({"headrace.evaluated.class": "late=1"}, "late=1", "recall of late=1 in region=north is 0.4"),
        ({}, "mean over classes", "recall (mean over classes) in region=north is 0.4"),
    ],
)
def test_a_check_says_which_class_recall_is_of(tags, averaged, words):
    """Of one class, or the mean over all: the same name stands for two numbers."""
    gates = [{"metric": "recall", "slice": "region=north", "min": "0.5"}]
    measured = {"recall/region:north": 0.4, "samples/recall/region:north": 300.0}

    verdict = end(registry(measured, **tags), evaluate=EVALUATE | {"gates": gates})

    [check] = verdict.status.model.gate.checks
    assert (check.averaged, check.passed) == (averaged, False)
    assert words in verdict.status.message


def test_status_shows_what_holds_for_all_rows():
    assert shown_metrics(GOOD) == {"evaluate/accuracy": 0.93, "evaluate/equalized_odds_difference/sex": 0.04}


@dataclass
class Registry:
    """MLflow with the run of the training and that of its evaluation."""

    runs: dict[str, Run]
    tags: dict[str, str] = field(default_factory=dict)
    registered: list = field(default_factory=list)
    deleted: bool = False

    async def find_run(self, experiment_id, uid):
        assert experiment_id == "3"
        return self.runs.get(uid)

    async def check_run(self, run_id):
        if self.deleted:
            raise RunDeleted(f"run {run_id} was deleted")

    async def tag_run(self, run_id, tags):
        self.tags |= tags

    async def ensure_model(self, *_):
        return type("Model", (), {"name": "team-a.text"})

    async def register(self, model, run_id, digest, source, uid, notes):
        self.registered.append((run_id, digest, notes))
        return ModelVersion("team-a.text", "7", source, run_id)

    async def point_alias(self, *_):
        """Pointed."""


def registry(measured=GOOD, **tags):
    found = {"headrace.evaluated.digest": DIGEST, "headrace.baseline.digest": BASELINE["digest"], **tags}
    training = Run("r1", "3", "FINISHED", "s3://team-a/mlflow/x/r1/artifacts", tags={"headrace.digest": DIGEST})
    return Registry({UID: training, f"{UID}/evaluate": Run("c", "3", "FINISHED", "", metrics=measured, tags=found)})


def end(mlflow, known=COMPARED, conditions=(), **spec):
    status = {
        "conditions": conditions,
        "state": "Finishing",
        "stage": "Evaluate",
        "model": {"name": "team-a.text", "uri": MODEL["uri"], "digest": DIGEST},
        "run": {"id": "r1", "experimentID": "3"},
        "stages": [{"name": "Evaluate", "run": {"id": "c"}}],
        "metrics": {"loss": "0.5"},
    }
    job = training_job(status, workers=1, **JUDGED | spec)
    return asyncio.run(finish(job.with_status(job.status.evolve(evaluation=known)), mlflow, "", NOW))


def test_a_model_that_passes_is_registered_with_what_was_measured_of_it():
    mlflow = registry()

    verdict = end(mlflow)

    status = verdict.status
    assert (status.state, status.reason, status.model.version) == ("Succeeded", "GatePassed", "7")
    assert [check.passed for check in status.model.gate.checks] == [True, True, True]
    assert status.metrics == {
        "evaluate/accuracy": "0.93",
        "evaluate/equalized_odds_difference/sex": "0.04",
        "loss": "0.5",
    }
    assert mlflow.tags == {"headrace.gate": "passed"}
    [(run_id, digest, notes)] = mlflow.registered
    assert (run_id, digest) == ("r1", DIGEST)
    assert notes.tags["headrace.evaluation.run"] == "c"
    assert notes.tags["headrace.evaluation.format"] == "ONNX"
    assert notes.tags["headrace.baseline.version"] == "6"
    assert json.loads(notes.tags["headrace.evaluation"])["evaluate/accuracy"] == "0.93"
    assert "- accuracy of region=north: 0.85" in notes.description
    assert "Evaluated on 1200 rows." in notes.description


def test_a_value_of_an_attempt_that_failed_is_not_judged_by():
    """MLflow keeps a metric's first value at a step: the last attempt says in a tag what it has measured itself."""
    tags = {"headrace.model.metrics": '{"accuracy":0.93,"worse_by/accuracy":0.5}'}

    status = end(registry(GOOD | {"accuracy": 0.99}, **tags)).status

    assert (status.reason, status.metrics["evaluate/accuracy"]) == ("GateFailed", "0.93")
    assert "accuracy is 0.93, that of version 6 (champion) 0.94: worse by at least 0.5" in status.message


def test_the_card_of_the_run_is_the_versions_description():
    mlflow = registry(**{"mlflow.note.content": "# Irises\n" + "x" * 9000})

    end(mlflow)

    [(_, _, notes)] = mlflow.registered
    assert notes.description.startswith("# Irises\n")
    assert len(notes.description) < 5000


def test_gates_of_both_kinds_have_to_pass():
    mlflow = registry()
    spec = {"evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.5"}]}}

    status = end(mlflow, **spec).status

    assert (status.reason, mlflow.registered) == ("GateFailed", [])
    assert [(check.metric, check.passed) for check in status.model.gate.checks] == [
        ("val_accuracy", False),
        ("evaluate/accuracy", True),
        ("evaluate/accuracy", True),
        ("evaluate/equalized_odds_difference", True),
    ]
    assert "val_accuracy was never logged" in status.message


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ({"accuracy": 0.8}, "accuracy is 0.8, must be at least 0.9", "train longer or with better data"),
        ({"accuracy": math.nan}, "accuracy is NaN, must be at least 0.9", "train longer or with better data"),
        (
            {"worse_by/accuracy": 0.031},
            "accuracy is 0.93, that of version 6 (champion) 0.94: worse by at least 0.031 with a confidence of 0.95, "
            "may be worse by 0.02",
            "train longer or with better data",
        ),
        (
            {"worse_by/accuracy": math.nan, "samples/accuracy": 15.0},
            "accuracy was not compared with that of version 6 (champion): 15 rows; at least 20 are needed for a "
            "comparison, and maxRegression is 0.02",
            "judge on more rows",
        ),
        (
            {"worse_by/accuracy": math.nan, "baseline/accuracy": math.nan},
            "accuracy was not compared with that of version 6 (champion): it was not measured of that version",
            "judge on more rows",
        ),
        (
            {"worse_by/accuracy": None},
            "accuracy was not compared with that of version 6 (champion): of its 1200 rows fewer than 20 are "
            "independent of one another and count (evaluate.data.group, evaluate.data.weight), or the metric does not "
            "exist on most of those drawn from them, and maxRegression is 0.02",
            "judge on more rows",
        ),
        (
            {"accuracy/region:north": None},
            "accuracy of region=north was not measured: no row has this value",
            "judge on rows that the metric can be measured on, or change evaluate.gates, in a new TrainingJob; "
            "region=south was measured",
        ),
        (
            {"accuracy/region:north": None, "f1/region:north": 0.8},
            "accuracy of region=north was not measured: there are such rows, and it does not exist on them",
            "region=south was measured",
        ),
        (
            {"equalized_odds_difference/sex": None},
            "equalized_odds_difference of sex was not measured: the column is not there, or has one value only",
            "judge on rows that the metric can be measured on",
        ),
        (
            {"equalized_odds_difference/sex": 0.3},
            "equalized_odds_difference of sex is 0.3, must be at most 0.1",
            "train longer or with better data",
        ),
        (dict.fromkeys(GOOD), "accuracy was not measured; accuracy of region=north was not measured", "no metrics"),
    ],
    ids=[
        "bound",
        "NaN",
        "worse",
        "too few rows",
        "the baseline has none",
        "not compared",
        "no such slice",
        "a slice that does not tell it",
        "no such column",
        "unfair",
        "nothing",
    ],
)
def test_a_gate_that_fails_says_why_and_what_to_do(change, said, hint):
    mlflow = registry({name: value for name, value in {**GOOD, **change}.items() if value is not None})

    status = end(mlflow).status

    assert (status.state, status.reason) == ("Succeeded", "GateFailed")
    assert said in status.message
    assert hint in status.message
    assert (mlflow.registered, status.model.version, status.model.uri) == ([], None, MODEL["uri"])
    assert said in mlflow.tags["headrace.gate"]


def test_values_that_were_measured_are_named_once_as_gates_write_them_the_nearest_first():
    towns = {f"{metric}/zip:{number}": 0.9 for metric in ("accuracy", "f1") for number in (1067, *range(80331, 80351))}
    towns |= {"accuracy/zip:New York::2f::c3::9f": 0.9, "accuracy": 0.93, "f1": 0.9, "accuracy/region:north": 0.9}
    gates = [{"metric": metric, "slice": "zip=01067", "min": "0.8"} for metric in ("accuracy", "f1")]

    status = end(registry(towns), evaluate={**EVALUATE, "slices": ["zip"], "gates": gates}).status

    assert status.message.count("1067") == 3  # of each gate what is missing, and once what is there
    assert "; zip=1067, zip=" in status.message
    assert "and 17 more were measured" in status.message
    assert "zip:" not in status.message
    assert len(status.message) < 500
    [near] = [{"metric": "accuracy", "slice": "zip=New York/ss", "min": "0.8"}]
    spelt = end(registry(towns), evaluate={**EVALUATE, "slices": ["zip"], "gates": [near]}).status
    assert "; zip=New York/ß, zip=" in spelt.message


def test_rows_that_are_too_few_are_no_fault_of_the_model():
    few = {"worse_by/accuracy": math.nan, "difference_low/accuracy": math.nan, "difference_high/accuracy": math.inf}
    status = end(registry(GOOD | few | {"samples/accuracy": 15.0})).status

    assert "train longer" not in status.message
    check = status.model.gate.checks[0]
    assert (check.low, check.high, check.worse_by, check.samples) == (None, None, None, 15)


def test_a_metric_that_the_users_program_does_not_log_is_told_with_those_that_it_logs():
    script = {"task": "Script", "entrypoint": "judge.py", "gates": [{"metric": "bleu", "slice": "l=de", "min": "0.2"}]}
    mlflow = registry({"rouge": 0.4}, **{"headrace.baseline.digest": ""})

    status = end(mlflow, EvaluationStatus(samples=3), evaluate=script).status

    assert "bleu of l=de was never logged" in status.message
    assert "let judge.py log bleu/l:de (headrace_client.log), or name a metric that it logs" in status.message
    assert "rouge was measured" in status.message


def test_a_program_that_does_not_compare_is_told_what_to_log():
    script = {"task": "Script", "entrypoint": "judge.py", "gates": [{"metric": "cost", "maxRegression": "1"}]}
    script["baseline"] = {"alias": "champion"}

    status = end(registry({"cost": 7.0}), evaluate=script).status

    assert "how much worse cost is than that of version 6 was not measured" in status.message
    assert "let judge.py log worse_by/cost (headrace_client.log)" in status.message


NOT_COMPARED = {"type": "BaselineCompared", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
MISSPELT = [
    NOT_COMPARED
    | {
        "reason": "BaselineNotFound",
        "message": "nothing is compared: model team-a.text has 5 versions, and none has the alias champoin",
    }
]
NO_VERSION = [
    NOT_COMPARED | {"reason": "NoBaseline", "message": "nothing is compared: model team-a.text has no version yet"}
]
ONLY_BOUNDS = {**EVALUATE, "gates": [{"metric": "accuracy", "min": "0.9"}]}


@pytest.mark.parametrize(
    ("conditions", "evaluate", "reason", "event", "said"),
    [
        (MISSPELT, EVALUATE, "BaselineNotFound", "Warning", "none has the alias champoin"),
        (MISSPELT, ONLY_BOUNDS, "BaselineNotFound", "Warning", "none has the alias champoin"),
        (NO_VERSION, EVALUATE, "GatePassed", "Normal", "has no version yet"),
        (NO_VERSION, ONLY_BOUNDS, "GatePassed", "Normal", None),
    ],
    ids=["misspelt", "misspelt, bounds alone", "first version", "first version, bounds alone"],
)
def test_a_model_that_was_compared_with_nothing_does_not_pass_without_a_word(conditions, evaluate, reason, event, said):
    mlflow = registry(**{"headrace.baseline.digest": ""})

    verdict = end(mlflow, ALONE, conditions, evaluate=evaluate)

    assert (verdict.status.state, verdict.status.reason, verdict.event.type) == ("Succeeded", reason, event)
    assert verdict.status.message.startswith("registered as version 7 of model team-a.text")
    assert verdict.event.message == verdict.status.message
    if said is None:
        assert "compared" not in verdict.status.message
        assert mlflow.tags["headrace.gate"] == "passed"
    else:
        assert "; nothing is compared: model team-a.text" in verdict.status.message
        assert said in verdict.status.message
        assert said in mlflow.tags["headrace.gate"]


def test_an_evaluation_without_gates_registers_and_says_so():
    mlflow = registry(**{"headrace.baseline.digest": ""})

    status = end(mlflow, ALONE, evaluate={**EVALUATE, "gates": []}).status

    assert (status.reason, status.model.gate, status.model.version) == ("Registered", None, "7")
    assert mlflow.tags == {}


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"headrace.evaluated.digest": "sha256:" + "0" * 64}, "but it should have judged sha256:5d41"),
        ({"headrace.evaluated.digest": ""}, "headrace.evaluated.digest of the evaluation's run c is not set"),
        ({"headrace.baseline.digest": ""}, "headrace.baseline.digest of the evaluation's run c is not set"),
    ],
    ids=["other bytes", "no bytes", "no baseline"],
)
def test_what_was_judged_has_to_be_what_is_registered(tags, words):
    mlflow = registry(**tags)

    with pytest.raises(DigestMismatch, match=words):
        end(mlflow)

    assert mlflow.registered == []


def test_how_sure_a_program_of_the_users_is_nobody_knows():
    script = {"task": "Script", "entrypoint": "judge.py", "gates": [{"metric": "cost", "maxRegression": "0.1"}]}
    script["baseline"] = {"alias": "champion"}

    status = end(registry({"cost": 7.0, "worse_by/cost": 0.5}), evaluate=script).status

    assert "cost is 7, and worse by 0.5 than that of version 6 (champion), as judge.py has logged it" in status.message
    assert "may be worse by 0.1" in status.message
    assert "confidence" not in status.message
    assert status.model.gate.checks[0].confidence is None


def test_an_evaluation_whose_run_is_gone_waits_for_it_or_registers_nothing():
    mlflow = registry()
    del mlflow.runs[f"{UID}/evaluate"]

    with pytest.raises(DigestMismatch, match="MLflow has no run of this stage"):
        end(mlflow)
    mlflow.deleted = True
    with pytest.raises(RunDeleted, match="run c was deleted"):
        end(mlflow)
    assert mlflow.registered == []
