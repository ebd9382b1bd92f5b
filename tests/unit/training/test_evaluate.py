"""The stage Evaluate: after the training, by the same attempts, and before anything is registered."""

import json
from dataclasses import replace

import pytest

from headrace.api.trainingjob import BaselineVersion, FailureClass
from headrace.kube.resources import CONFIGMAPS, JOBS
from headrace.training.hints import hint_for
from headrace.training.observed import Observed, Source
from headrace.training.record import read_live
from headrace.training.view import Problem, Start
from training_builders import (
    BASELINE,
    EVALUATE,
    JUDGED,
    MADE,
    MODEL,
    NOW,
    PREPARE,
    REPORT,
    batch_job,
    pod,
    record,
    training_job,
)
from training_looks import FAILED, RAISED, SECOND, created, kinds, look
from tuning_looks import TUNING

SEEN = Source({"train.py": "", "prepare.py": "", "evaluate.py": ""}, "5")
NOTHING = Observed((), (), SEEN)
START = Start("3", "team-a", "team-a/x", baseline=BaselineVersion.model_validate(BASELINE))
FIRST = replace(START, baseline=None)
COMPLETE = (("Complete", ""),)
# What the gates of EVALUATE name.
GATED = [
    {"metric": "accuracy", "slice": "", "confidence": 0.95},
    {"metric": "accuracy", "slice": "region=north", "confidence": 0.95},
    {"metric": "equalized_odds_difference", "slice": "sex", "confidence": 0.95},
]
SCRIPT = {"evaluate": {"task": "Script", "entrypoint": "evaluate.py", "parameters": {"rows": 100}}}


def judged(status=None, **spec):
    return training_job(status, workers=1, **JUDGED | spec)


def ended(status, number, now=NOW, spec=None, **fields):
    """The attempt's one pod has ended well, with this in its record."""
    done = pod(0, "Succeeded", attempt=number, exit_code=0, message=record("Succeeded", NOW, **fields))
    return look(
        judged(status, **spec or {}),
        Observed((batch_job(f"text-{number}", conditions=COMPLETE),), (done,), SEEN),
        START,
    )


def running(status, number, live=None, **spec):
    seen = Observed((batch_job(f"text-{number}"),), (pod(0, attempt=number),), None, live=live)
    return look(judged(status, **spec), seen).status


def trained(**spec):
    """The status after the training, before anything of the evaluation."""
    first = running(look(judged(**spec), NOTHING, FIRST).status, 1, **spec)
    run = {"id": "r1", "experimentId": "3"}
    return ended(first, 1, spec=spec, model=MODEL, run=run, metrics={"loss": 0.5}).status


def evaluating(start=START, **spec):
    """The status while the evaluation is under way."""
    return running(look(judged(trained(**spec), **spec), NOTHING, start).status, 2, **spec)


def config(planned):
    [trainer] = created(planned, JOBS)["spec"]["template"]["spec"]["containers"]
    return json.loads(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))


def conditions(status):
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_both_stages_are_told_from_the_first_look():
    status = look(judged(), NOTHING, FIRST).status

    assert [(stage["name"], stage["state"]) for stage in status["stages"]] == [
        ("Train", "Running"),
        ("Evaluate", "Pending"),
    ]
    assert (status["stage"], status["columns"]["progress"], status["attempt"]["stage"]) == ("Train", "train", "Train")


def test_a_model_that_was_trained_is_evaluated_next_and_is_in_status_until_then():
    status = trained()

    assert (status["state"], status["reason"], status["stage"]) == ("Pending", "Trained", "Evaluate")
    assert "the evaluation is started next" in status["message"]
    assert {name: status["model"][name] for name in ("uri", "digest")} == {
        name: MODEL[name] for name in ("uri", "digest")
    }
    assert status["evaluation"] == {"format": "ONNX"}
    assert (status["metrics"], status["run"]["id"]) == ({"loss": "0.5"}, "r1")
    assert [stage["state"] for stage in status["stages"]] == ["Succeeded", "Pending"]


def test_the_evaluation_is_told_which_model_on_which_data_beside_which_version():
    planned = look(judged(trained()), NOTHING, START)

    job, told = created(planned, JOBS), config(planned)
    assert (job["metadata"]["name"], job["spec"]["completions"]) == ("text-2", 1)
    assert (told["protocol"], told["stage"], told["framework"]) == (2, "evaluate", "Script")
    evaluate = told["evaluate"]
    assert evaluate["model"] == {"uri": MODEL["uri"], "digest": MODEL["digest"]}
    assert evaluate["baseline"] == BASELINE
    assert (evaluate["task"], evaluate["format"], evaluate["parent"]) == ("Classification", "ONNX", "r1")
    assert evaluate["data"] == {
        "dataset": "heldout",
        "path": "test.parquet",
        "label": "species",
        "inputs": {},
        "output": "",
        "weight": "",
        "group": "",
        "positive": "",
    }
    assert (evaluate["slices"], evaluate["sensitive"]) == (["region"], ["sex"])
    assert evaluate["comparisons"] == GATED
    assert [(one["name"], one["path"]) for one in told["datasets"]] == [("heldout", "/data/heldout")]
    assert told["source"]["entrypoint"] == ""
    assert not {"output", "checkpoint", "prepare"} & told.keys()
    assert planned.status["evaluation"] == {"format": "ONNX", "baseline": BASELINE}
    assert planned.status["columns"]["progress"] == "evaluate"


ASKED = {
    "species": "evaluate.data.label",
    "count": "evaluate.data.weight",
    "patient": "evaluate.data.group",
    "sepal": "evaluate.data.inputs.flower",
    "region": "evaluate.slices",
    "sex": "evaluate.sensitive",
}


def held_out(**changed):
    """What the pods of the training are told of the rows."""
    data = {"label": "species", "weight": "count", "group": "patient", "inputs": {"flower": ["sepal"]}}
    evaluate = EVALUATE | {"data": EVALUATE["data"] | data} | changed.pop("evaluate", {})
    return config(look(judged(evaluate=evaluate, **changed), NOTHING, FIRST)).get("heldOut")


def test_the_training_is_told_which_columns_will_be_asked_for_and_by_which_fields():
    assert held_out() == {
        "dataset": {"name": "heldout", "uri": "s3://team-a/heldout/", "path": "/data/heldout"},
        "path": "test.parquet",
        "columns": ASKED,
    }


CLAIM = {"name": "heldout", "persistentVolumeClaim": {"claimName": "rows"}}


@pytest.mark.parametrize(
    "dataset",
    [
        {"name": "heldout", "uri": "https://example.org/x.csv", "sha256": "0" * 64},
        {"name": "heldout", "uri": "s3://team-a/x.zip", "unpack": "Auto"},
        CLAIM,
    ],
    ids=["web", "packed", "a volume of the evaluation"],
)
def test_what_the_pods_of_the_training_cannot_look_at_they_are_not_told_of(dataset):
    assert held_out(evaluate={"datasets": [dataset]}) is None


def test_a_volume_that_the_training_mounts_is_looked_at():
    told = held_out(evaluate={"datasets": []}, datasets=[CLAIM])

    assert told["dataset"]["mount"] == "/headrace/data/heldout"


def test_the_pod_of_a_tuning_mounts_no_volume_to_look_at():
    assert held_out(evaluate={"datasets": []}, datasets=[CLAIM], tuning=TUNING) is None
    assert held_out(tuning=TUNING)["dataset"]["name"] == "heldout"


def test_a_prepared_dataset_is_looked_at_by_the_training_that_follows():
    spec = {"evaluate": EVALUATE | {"data": {"dataset": "corpus"}}, "prepare": PREPARE}
    first = look(judged(**spec), NOTHING, FIRST)
    assert "heldOut" not in config(first)
    done = ended(running(first.status, 1, **spec), 1, spec=spec, dataset=MADE)

    told = config(look(judged(done.status, **spec), NOTHING, FIRST))["heldOut"]

    assert told["dataset"]["digest"] == MADE["digest"]


def test_a_program_of_the_users_reads_what_it_likes():
    assert "heldOut" not in config(look(judged(**SCRIPT), NOTHING, FIRST))


def test_headraces_own_program_needs_no_source():
    planned = look(judged(trained(), image="example.com/own:1"), replace(NOTHING, source=None), START)

    assert CONFIGMAPS not in kinds(planned)
    [trainer] = created(planned, JOBS)["spec"]["template"]["spec"]["containers"]
    assert (trainer["image"], planned.status["attempt"]["image"]) == ("headrace/trainer:1", "headrace/trainer:1")
    assert "/headrace/source" not in {mount["mountPath"] for mount in trainer["volumeMounts"]}
    assert planned.status["source"] == {"configMap": "code", "resourceVersion": "5"}  # of the training


def test_a_program_of_the_users_runs_from_the_source_that_the_training_ran_from():
    planned = look(judged(trained(**SCRIPT), **SCRIPT), NOTHING, FIRST)

    told = config(planned)
    assert (told["source"]["entrypoint"], told["parameters"]) == ("evaluate.py", {"rows": 100})
    assert "data" not in told["evaluate"]
    assert told["evaluate"]["format"] == ""
    assert created(planned, CONFIGMAPS)["metadata"]["name"] == "text-source"


def test_a_program_that_is_not_in_the_source_is_missed_before_the_training():
    status = look(judged(**SCRIPT), replace(NOTHING, source=Source({"train.py": ""}, "5")), FIRST).status

    assert status["reason"] == "EntrypointNotFound"
    assert "'evaluate.py' is not in ConfigMap 'code'" in status["message"]


def test_a_program_may_come_from_elsewhere():
    own = {"evaluate": SCRIPT["evaluate"] | {"source": {"configMap": {"name": "judging"}}}}
    seen = replace(NOTHING, source=Source({"evaluate.py": ""}, "9"))

    planned = look(judged(trained(**own), **own), seen, FIRST)

    assert created(planned, CONFIGMAPS)["metadata"]["name"] == "text-source-evaluate"
    assert planned.status["source"] == {"configMap": "judging", "resourceVersion": "9"}


@pytest.mark.parametrize(
    ("name", "uri"),
    [("heldout", "s3://team-a/heldout/"), ("images", "s3://team-a/images/"), ("corpus", MADE["uri"])],
)
def test_the_rows_are_those_of_a_dataset_that_the_spec_names(name, uri):
    spec = {
        "evaluate": EVALUATE | {"data": {"dataset": name}},
        "datasets": [{"name": "images", "uri": "s3://team-a/images/"}],
        "prepare": PREPARE,
    }
    first = running(look(judged(**spec), NOTHING, FIRST).status, 1, **spec)
    second = look(judged(ended(first, 1, spec=spec, dataset=MADE).status, **spec), NOTHING, FIRST)
    third = ended(running(second.status, 2, **spec), 2, spec=spec, model=MODEL).status

    [told] = config(look(judged(third, **spec), NOTHING, START))["datasets"]

    assert (told["name"], told["uri"]) == (name, uri)
    assert told.get("digest") == (MADE["digest"] if name == "corpus" else None)


def test_a_model_without_a_baseline_is_told_once_and_evaluated():
    planned = look(judged(trained()), NOTHING, FIRST)

    assert conditions(planned.status)["BaselineCompared"] == ("False", "NoBaseline")
    assert [event.reason for event in planned.events] == ["AttemptStarted", "NoBaseline"]
    told = config(planned)["evaluate"]
    assert "baseline" not in told
    assert told["comparisons"] == GATED  # a slice that only a gate names is measured
    assert planned.status["evaluation"] == {"format": "ONNX"}
    assert planned.events[-1].type == "Normal"
    assert planned.events[-1].message == (
        "nothing is compared: model team-a.text has no version yet; of evaluate.gates only min and max are judged, and "
        "no maxRegression"
    )


def test_an_alias_that_no_version_has_though_there_are_some_is_warned_of():
    """It may be misspelt: every model would pass."""
    planned = look(judged(trained()), NOTHING, replace(FIRST, versions=5))

    assert conditions(planned.status)["BaselineCompared"] == ("False", "BaselineNotFound")
    [event] = [event for event in planned.events if event.reason == "BaselineNotFound"]
    assert event.type == "Warning"
    assert event.message.startswith(
        "nothing is compared: model team-a.text has 5 versions, and none has the alias champion (evaluate.baseline)"
    )


def test_the_baseline_of_the_first_attempt_is_that_of_all():
    status = evaluating()
    raised = pod(0, "Failed", attempt=2, exit_code=1, message=record("Failed", NOW, **RAISED))
    seen = Observed((batch_job("text-2", conditions=FAILED),), (raised,), SEEN)
    again = look(judged(status), seen).status
    assert (again["state"], again["attemptsCounted"]) == ("Restarting", 1)
    moved = replace(START, baseline=START.baseline.model_copy(update={"version": "7"}))

    planned = look(judged(again), NOTHING, moved, now=NOW + 10 * SECOND)

    assert config(planned)["evaluate"]["baseline"]["version"] == "6"
    assert planned.status["evaluation"]["baseline"] == BASELINE


def test_an_operator_that_died_before_the_job_was_made_makes_the_same():
    first = look(judged(trained()), NOTHING, START)

    again = look(judged(first.status), NOTHING, FIRST)

    assert again.creates == first.creates
    assert again.status["evaluation"] == first.status["evaluation"]


def test_a_baseline_that_cannot_be_proven_keeps_the_evaluation_from_beginning_and_loses_nothing():
    problem = Problem(FailureClass.DATA, "BaselineUnreadable", "version 6 has no digest")
    waits = look(judged(trained()), NOTHING, Start(problem=problem)).status
    assert (waits["state"], waits["reason"]) == ("Pending", "BaselineUnreadable")

    failed = look(judged(trained()), NOTHING, Start(problem=problem), now=NOW + 700 * SECOND).status

    assert (failed["state"], failed["failure"]["message"]) == ("Failed", "evaluate: version 6 has no digest")
    assert failed["model"]["uri"] == MODEL["uri"]
    assert "evaluate.baseline" in failed["failure"]["hint"]


def test_what_it_measures_stands_beside_what_the_training_has_measured():
    told = {"accuracy": 0.93, "accuracy/region:north": 0.9, "baseline/accuracy": 0.95, "worse_by/accuracy": 0.01}
    live = read_live({"protocol": 1, "state": "Evaluating", "metrics": told, "run": {"id": "c", "experimentId": "3"}})

    status = running(evaluating(), 2, live)

    assert status["reason"] == "Evaluating"
    assert status["metrics"] == {"evaluate/accuracy": "0.93", "loss": "0.5"}
    assert status["columns"]["metric"] == "evaluate/accuracy=0.93"
    assert (status["run"]["id"], status["stages"][1]["run"]["id"]) == ("r1", "c")


def test_metrics_of_it_displace_the_trainings_where_there_are_too_many():
    before = evaluating() | {"metrics": {f"m{number:02}": "1" for number in range(64)}}
    live = read_live({"protocol": 1, "state": "Evaluating", "metrics": {"f1": 0.5}})

    metrics = running(before, 2, live)["metrics"]

    assert len(metrics) == 64
    assert metrics["evaluate/f1"] == "0.5"


def test_its_success_leads_to_the_gates():
    planned = ended(
        evaluating(), 2, evaluation=REPORT, metrics={"accuracy": 0.93}, run={"id": "c", "experimentId": "3"}
    )

    status = planned.status
    assert (status["state"], status["reason"]) == ("Finishing", "Judging")
    assert status["evaluation"] == {"format": "ONNX", "baseline": BASELINE, "samples": 1200}
    assert conditions(status)["BaselineCompared"] == ("True", "Compared")
    assert [(entry["stage"], entry["outcome"]) for entry in status["history"]] == [
        ("Train", "Succeeded"),
        ("Evaluate", "Succeeded"),
    ]
    assert planned.requeue_after == 0.0
    assert len(planned.patches) == 1


EXPLAINED = {"evaluate": EVALUATE | {"explain": {"samples": 10}}}


def test_what_is_to_be_explained_is_told_with_its_defaults():
    told = config(look(judged(trained(**EXPLAINED), **EXPLAINED), NOTHING, START))["evaluate"]["explain"]

    assert told == {
        "method": "Auto", "samples": 10, "target": "", "background": 50, "budget": 512, "importance": True,
        "values": True, "deadlineSeconds": 300,
    }  # fmt: skip
    assert "explain" not in config(look(judged(trained()), NOTHING, START))["evaluate"]


def test_an_explanation_ends_before_the_evaluation_would_be_ended_for_it():
    spec = EXPLAINED | {"activeDeadlineSeconds": 250}
    told = config(look(judged(trained(**spec) | {"activeSeconds": 50}, **spec), NOTHING, START))["evaluate"]["explain"]
    assert told["deadlineSeconds"] == 100


def test_after_a_death_for_want_of_memory_the_next_attempt_explains_nothing():
    """The model is to be judged: an explanation fails nothing."""
    died = pod(0, "Failed", attempt=2, exit_code=137, reason="OOMKilled")
    over = Observed((batch_job("text-2", conditions=(("Failed", "BackoffLimitExceeded"),)),), (died,), SEEN)
    failed = look(judged(evaluating(**EXPLAINED), **EXPLAINED), over, START).status
    assert failed["failure"]["class"] == "OOM"

    again = look(judged(failed, **EXPLAINED), NOTHING, START, NOW + 10 * SECOND)
    assert "explain" not in config(again)["evaluate"]
    planned = ended(running(again.status, 3, **EXPLAINED), 3, spec=EXPLAINED, evaluation=REPORT)
    [told] = [one["message"] for one in planned.status["conditions"] if one["type"] == "Explained"]
    assert "an earlier attempt of the evaluation was killed or had too little memory" in told


@pytest.mark.parametrize(
    ("rows", "message", "condition", "events", "words"),
    [
        (10, "", ("True", "Explained"), [], "10 rows are explained in evaluation/explanations.json"),
        (8, "time was over", ("True", "Explained"), ["Explained"], "of the stage's run; time was over"),
        (0, "takes texts", ("False", "NotExplained"), ["NotExplained"], "takes texts"),
        (0, "", ("False", "NotExplained"), ["NotExplained"], "does its image have another release?"),
    ],
    ids=["all", "some", "none", "an older launcher"],
)
def test_explanations_are_told_once_and_fail_nothing(rows, message, condition, events, words):
    report = REPORT | ({"explained": rows} if rows else {})

    planned = ended(evaluating(**EXPLAINED), 2, spec=EXPLAINED, evaluation=report, message=message)

    assert (planned.status["state"], planned.status["reason"]) == ("Finishing", "Judging")
    assert conditions(planned.status)["Explained"] == condition
    [told] = [one["message"] for one in planned.status["conditions"] if one["type"] == "Explained"]
    assert words in told
    assert [(event.reason, event.type) for event in planned.events] == [(reason, "Warning") for reason in events]


def test_nobody_is_told_of_explanations_that_nobody_asked_for():
    planned = ended(evaluating(), 2, evaluation=REPORT | {"explained": 3}, message="x")

    assert "Explained" not in conditions(planned.status)
    assert planned.events == ()


def test_of_how_many_rows_a_program_has_judged_nobody_tells():
    status = evaluating(FIRST, **SCRIPT)
    report = REPORT | {"baselineDigest": "", "samples": 0}

    done = ended(status, 2, spec=SCRIPT, evaluation=report).status

    assert done["message"].startswith("the model was evaluated; checking the gates")
    assert "evaluation" not in done


@pytest.mark.parametrize(
    ("report", "reason", "words"),
    [
        (None, "NoEvaluation", "does not say what was judged"),
        (REPORT | {"digest": "sha256:" + "0" * 64}, "EvaluatedModelChanged", "and the training has made sha256:5d41"),
        (REPORT | {"baselineDigest": ""}, "BaselineUnreadable", "digest none was compared with, and version 6 has"),
    ],
    ids=["nothing", "other bytes", "without the baseline"],
)
def test_an_evaluation_of_something_else_fails_and_registers_nothing(report, reason, words):
    fields = {} if report is None else {"evaluation": report}

    status = ended(evaluating(), 2, **fields).status

    assert (status["state"], status["failure"]["reason"]) == ("Failed", reason)
    assert words in status["failure"]["message"]
    assert status["model"]["uri"] == MODEL["uri"]
    assert "version" not in status["model"]


@pytest.mark.parametrize("reason", ["DataUnreadable", "EvaluatedModelChanged", "BaselineUnreadable"])
def test_bad_data_fails_once_with_what_to_do_and_keeps_the_model(reason):
    said = {"class": "Data", "reason": reason, "message": "no column species", "hint": "name one of: a, b"}
    failed = pod(0, "Failed", attempt=2, exit_code=2, message=record("Failed", NOW, **said))
    seen = Observed((batch_job("text-2", conditions=FAILED),), (failed,), None)

    status = look(judged(evaluating()), seen).status

    assert (status["state"], status["reason"]) == ("Failed", reason)
    assert status["message"] == "evaluate: no column species; name one of: a, b"
    assert (status["model"]["uri"], status["stages"][1]["state"]) == (MODEL["uri"], "Failed")


@pytest.mark.parametrize(
    ("evaluate", "made", "words"),
    [
        ({"format": "ONNX"}, ["TensorFlow"], "evaluate judges ONNX; exported: TensorFlow; not exported: ONNX"),
        ({}, ["Keras"], "evaluate judges ONNX or TensorFlow; exported: Keras"),
    ],
    ids=["the one that is asked for", "none that is served"],
)
def test_a_model_that_cannot_be_judged_ends_the_job_as_a_required_format_does(evaluate, made, words):
    spec = {
        "evaluate": EVALUATE | evaluate,
        "output": {"model": "text", "formats": ["TensorFlow", "ONNX", "Keras"]},
    }
    first = running(look(judged(**spec), NOTHING, FIRST).status, 1, **spec)

    status = ended(first, 1, spec=spec, model=MODEL | {"formats": made}).status

    assert (status["state"], status["reason"]) == ("Succeeded", "RequiredFormatMissing")
    assert words in status["message"]
    assert status["model"]["uri"] == MODEL["uri"]
    assert [stage["state"] for stage in status["stages"]] == ["Succeeded", "NotRun"]


def test_the_saved_model_is_judged_where_there_is_no_onnx():
    first = running(look(judged(), NOTHING, FIRST).status, 1)

    assert ended(first, 1, model=MODEL | {"formats": ["TensorFlow"]}).status["evaluation"] == {"format": "TensorFlow"}


def test_several_models_end_the_job_before_any_is_evaluated():
    first = running(look(judged(), NOTHING, FIRST).status, 1)

    status = ended(first, 1, reason="AmbiguousModel", message="2 models could be meant").status

    assert (status["state"], status["reason"]) == ("Succeeded", "AmbiguousModel")
    assert "model" not in status


def test_a_job_suspended_in_its_evaluation_goes_on_with_it():
    stopped = pod(0, "Failed", attempt=2, exit_code=6, deleted_at=NOW)
    suspended = look(judged(evaluating(), suspend=True), Observed((), (stopped,), SEEN)).status
    assert (suspended["state"], suspended["stage"]) == ("Suspended", "Evaluate")
    assert suspended["message"] == "suspended because spec.suspend is true; set it to false to evaluate anew"

    again = look(judged(suspended), NOTHING, FIRST)

    assert config(again)["evaluate"]["baseline"] == BASELINE
    assert (again.status["attempt"]["number"], again.status["attemptsCounted"]) == (3, 0)


def test_three_stages_follow_one_another():
    status = look(judged(prepare=PREPARE), NOTHING, FIRST).status

    assert [stage["name"] for stage in status["stages"]] == ["Prepare", "Train", "Evaluate"]
    assert status["stage"] == "Prepare"


def test_an_evaluation_has_no_checkpoint_and_nobody_is_told_of_one():
    stopping = look(
        judged(evaluating(), suspend=True), Observed((batch_job("text-2"),), (pod(0, attempt=2),), SEEN)
    ).status

    assert "checkpoint" not in stopping["message"]
    told = hint_for(judged(evaluating()), "Evicted")
    assert told.startswith("the next attempt begins anew and does not count against maxRestarts; ")
