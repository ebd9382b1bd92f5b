"""The stages of a TrainingJob: Prepare, then Train, by the same attempts."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.kube.resources import CONFIGMAPS, JOBS, SERVICES
from headrace.training.observed import Observed, Source
from headrace.training.record import read_live
from headrace.training.view import Start
from training_builders import HEX, MADE, NOW, PREPARE, UID, batch_job, pod, record, stamp, training_job, unschedulable
from training_looks import FAILED, RAISED, SECOND, created, kinds, look, under_way

BOTH = Source({"train.py": "print()", "prepare.py": "print()"}, "5")
NOTHING = Observed((), (), BOTH)
START = Start("3", "team-a", "team-a/x")
SPEC = {
    "prepare": PREPARE,
    "tracking": {"experiment": "x"},
    "output": {"model": "text"},
    "datasets": [{"name": "images", "uri": "s3://team-a/images/"}],
}
COMPLETE = (("Complete", ""),)


def staged(status=None, workers=2, **spec):
    return training_job(status, workers=workers, **SPEC | spec)


def running(status, number=1):
    """The status once the attempt's Job was seen."""
    job = staged(status)
    return look(job, Observed((batch_job(f"text-{number}"),), (pod(0, attempt=number),), None)).status


def failed(status, number=1, now=NOW, **spec):
    """The attempt's one pod has raised."""
    raised = pod(0, "Failed", attempt=number, exit_code=1, message=record("Failed", NOW, **RAISED))
    job = staged(status, **spec)
    return look(job, Observed((batch_job(f"text-{number}", conditions=FAILED),), (raised,), BOTH), now=now).status


def prepared(status, number=1):
    done = pod(0, "Succeeded", attempt=number, exit_code=0, message=record("Succeeded", NOW, dataset=MADE))
    seen = Observed((batch_job(f"text-{number}", conditions=COMPLETE),), (done,), BOTH)
    return look(staged(status), seen, START).status


def config(planned):
    [trainer] = created(planned, JOBS)["spec"]["template"]["spec"]["containers"]
    return json.loads(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))


def names(planned):
    return [made["metadata"]["name"] for _, made in planned.creates]


def test_the_first_attempt_is_of_the_preparation():
    planned = look(staged(resources={"limits": {"cpu": 4}}, framework="Keras"), NOTHING, START)

    job, told = created(planned, JOBS), config(planned)
    assert (job["metadata"]["name"], job["spec"]["completions"]) == ("text-1", 1)
    assert "resources" not in job["spec"]["template"]["spec"]["containers"][0]
    assert (told["stage"], told["framework"], told["strategy"]) == ("prepare", "Script", "SingleWorker")
    assert told["source"]["entrypoint"] == "prepare.py"
    assert told["parameters"] == {"vocabulary": 10000}
    assert [one["name"] for one in told["datasets"]] == ["raw"]
    image = "headrace/trainer:1"
    assert told["prepare"] == {"name": "corpus", "uri": "s3://team-a/headrace/datasets/corpus", "image": image}
    assert told["checkpoint"]["uri"] == f"s3://team-a/headrace/checkpoints/{UID}-prepare"
    assert "output" not in told
    assert (planned.status["stage"], planned.status["attempt"]["stage"]) == ("Prepare", "Prepare")
    assert planned.status["columns"]["progress"] == "prepare"
    assert planned.status["columns"]["workers"] == "0/1"


def test_both_stages_are_told_from_the_first_look():
    status = look(staged(suspend=True), NOTHING, START).status

    assert [(stage["name"], stage["state"]) for stage in status["stages"]] == [
        ("Prepare", "Pending"),
        ("Train", "Pending"),
    ]
    assert status["stage"] == "Prepare"


def test_the_next_look_after_the_preparation_begins_the_training_with_the_dataset():
    status = prepared(running(look(staged(), NOTHING, START).status))

    planned = look(staged(status), NOTHING, START)

    job, told = created(planned, JOBS), config(planned)
    assert (job["metadata"]["name"], job["spec"]["completions"]) == ("text-2", 2)
    assert told["source"]["entrypoint"] == "train.py"
    assert "stage" not in told
    assert "prepare" not in told
    images, corpus = told["datasets"]
    assert images["name"] == "images"
    assert corpus == {"name": "corpus", "uri": MADE["uri"], "path": "/data/corpus", "digest": f"sha256:{HEX}"}
    assert told["checkpoint"]["uri"] == f"s3://team-a/headrace/checkpoints/{UID}"
    assert planned.status["attempt"]["stage"] == "Train"
    assert planned.status["columns"]["progress"] == "train"
    assert [entry["stage"] for entry in planned.status["history"]] == ["Prepare"]


def test_restarts_are_counted_for_each_stage_and_attempts_over_all():
    spec = {"restartPolicy": {"maxRestarts": 1}}
    again = failed(running(look(staged(**spec), NOTHING, START).status), **spec)
    assert (again["state"], again["attemptsCounted"], again["columns"]["try"]) == ("Restarting", 1, "2/2")
    second = look(staged(again, **spec), NOTHING, START, now=NOW + 10 * SECOND).status
    assert (second["attempt"]["number"], second["attempt"]["stage"]) == (2, "Prepare")

    status = prepared(running(second, 2), 2)
    third = look(staged(status, **spec), NOTHING, START, now=NOW + 10 * SECOND).status
    assert (third["attempt"]["number"], third["columns"]["try"]) == (3, "1/2")
    first_of_training = failed(running(third, 3), 3, now=NOW + 10 * SECOND, **spec)
    assert first_of_training["state"] == "Restarting"
    fourth = look(staged(first_of_training, **spec), NOTHING, START, now=NOW + 20 * SECOND).status
    last = failed(running(fourth, 4), 4, now=NOW + 20 * SECOND, **spec)

    assert last["state"] == "Failed"
    assert [(stage["name"], stage["state"], stage["attempts"]) for stage in last["stages"]] == [
        ("Prepare", "Succeeded", 2),
        ("Train", "Failed", 2),
    ]
    assert last["failure"]["message"] == "train: ValueError: x"
    assert [entry["stage"] for entry in last["history"]] == ["Prepare", "Prepare", "Train", "Train"]


def test_a_preparation_that_fails_for_good_ends_the_job_and_names_the_stage():
    spec = {"restartPolicy": {"maxRestarts": 0}}

    status = failed(running(look(staged(**spec), NOTHING, START).status), **spec)

    assert (status["state"], status["stage"]) == ("Failed", "Prepare")
    assert status["failure"]["message"] == "prepare: ValueError: x"
    assert status["message"].startswith("prepare: ValueError: x")
    prepare, train = status["stages"]
    assert (prepare["state"], prepare["finishedAt"], train["state"]) == ("Failed", stamp(NOW), "NotRun")
    assert prepare["message"] == status["message"]


def test_a_failed_training_of_a_job_without_stages_names_none():
    raised = pod(0, "Failed", exit_code=1, message=record("Failed", NOW, **RAISED))
    seen = Observed((batch_job(conditions=FAILED),), (raised,), BOTH)

    assert look(training_job(under_way()), seen).status["failure"]["message"] == "ValueError: x"


def test_a_job_suspended_in_its_preparation_goes_on_with_it():
    status = running(look(staged(), NOTHING, START).status)
    stopped = pod(0, "Failed", exit_code=6, deleted_at=NOW)
    suspended = look(staged(status, suspend=True), Observed((), (stopped,), BOTH)).status
    assert (suspended["state"], suspended["stage"]) == ("Suspended", "Prepare")

    again = look(staged(suspended), NOTHING, START)

    assert config(again)["stage"] == "prepare"
    assert (again.status["attempt"]["number"], again.status["attemptsCounted"]) == (2, 0)


def test_the_deadline_is_of_both_stages_together():
    status = look(staged(activeDeadlineSeconds=100), NOTHING, START).status
    status["attempt"] |= {"activeSince": stamp(NOW - 40 * SECOND), "jobUID": "uid-of-text-1"}

    planned = look(staged(prepared(status), activeDeadlineSeconds=100), NOTHING, START)

    assert created(planned, JOBS)["spec"]["activeDeadlineSeconds"] == 60


def test_an_operator_that_died_before_the_job_was_made_makes_the_same_in_each_stage():
    first = look(staged(), NOTHING, START)
    assert look(staged(first.status), NOTHING, START).creates == first.creates
    second = look(staged(prepared(running(first.status))), NOTHING, START)
    assert look(staged(second.status), NOTHING, START).creates == second.creates


def test_each_stage_pins_its_own_image():
    own = {"prepare": PREPARE | {"image": "example.com/prepare:1"}, "image": "example.com/train:1"}
    first = look(staged(**own), NOTHING, START).status
    assert first["attempt"]["image"] == "example.com/prepare:1"

    second = look(staged(prepared(running(first)), **own), NOTHING, START).status

    assert second["attempt"]["image"] == "example.com/train:1"


def test_a_stage_goes_on_with_the_image_that_it_began_with():
    again = failed(running(look(staged(), NOTHING, START).status))
    again["attempt"]["image"] = "headrace/trainer:0"

    assert look(staged(again), NOTHING, START, now=NOW + 10 * SECOND).status["attempt"]["image"] == "headrace/trainer:0"


def test_the_script_of_the_training_is_missed_before_the_preparation_begins():
    planned = look(staged(), replace(NOTHING, source=Source({"prepare.py": ""}, "5")), START)

    assert planned.status["reason"] == "EntrypointNotFound"
    assert "'train.py' is not in ConfigMap 'code'" in planned.status["message"]


def test_a_source_of_its_own_is_pinned_beside_the_trainings():
    own = {"prepare": PREPARE | {"source": {"configMap": {"name": "cleaning"}}}}
    cleaning = replace(NOTHING, source=Source({"prepare.py": ""}, "7"))

    first = look(staged(**own), cleaning, START)
    assert created(first, CONFIGMAPS)["metadata"]["name"] == "text-source-prepare"
    assert first.status["source"] == {"configMap": "cleaning", "resourceVersion": "7"}
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, dataset=MADE))
    seen = Observed((batch_job(conditions=COMPLETE),), (done,), None)
    between = look(staged(running(first.status), **own), seen, START).status
    second = look(staged(between, **own), NOTHING, START)

    assert created(second, CONFIGMAPS)["metadata"]["name"] == "text-source"
    assert second.status["source"] == {"configMap": "code", "resourceVersion": "5"}


def test_a_shared_source_is_pinned_once():
    first = look(staged(), NOTHING, START)

    second = look(staged(prepared(running(first.status))), NOTHING, START)

    assert created(first, CONFIGMAPS)["metadata"]["name"] == created(second, CONFIGMAPS)["metadata"]["name"]
    assert second.status["source"] == first.status["source"]
    assert kinds(second).count(SERVICES) == 1


OUT_OF_MEMORY = pod(0, "Failed", exit_code=137, reason="OOMKilled")
OUT_OF_DISK = pod(0, "Failed", pod_reason="Evicted", pod_message="ephemeral local storage usage exceeds the limit")
STUCK = pod(0, "Pending", node="", conditions=(unschedulable("0/1 nodes"),))


@pytest.mark.parametrize(
    ("stuck", "conditions", "hint"),
    [
        (OUT_OF_MEMORY, FAILED, "raise {}resources.limits.memory"),
        (OUT_OF_DISK, FAILED, "raise {}resources.limits.ephemeral-storage"),
        (STUCK, (), "request less in spec.{}resources"),
    ],
    ids=["memory", "disk", "scheduling"],
)
@pytest.mark.parametrize(("stage", "field"), [("Prepare", "prepare."), ("Train", "")])
def test_what_to_do_names_the_field_of_the_stage(stage, field, stuck, conditions, hint):
    status = under_way(stage=stage)
    status["attempt"]["stage"] = stage

    told = look(staged(status, workers=1), Observed((batch_job(conditions=conditions),), (stuck,), BOTH)).status

    said = told["failure"]["hint"] if conditions else told["message"]
    assert hint.format(field) in said


def test_progress_is_behind_the_stage():
    status = look(staged(), NOTHING, START).status
    live = read_live({"protocol": 1, "state": "Training", "step": 4, "steps": 10, "percent": 40})
    seen = Observed((batch_job(),), (pod(0),), None, live=live)

    told = look(staged(status), seen).status

    assert (told["columns"]["progress"], told["reason"]) == ("prepare 40%", "PreparingData")


def test_what_the_launcher_tells_of_its_run_while_it_prepares_is_the_stages():
    status = look(staged(), NOTHING, START).status
    live = read_live({"protocol": 1, "state": "Training", "run": {"id": "child", "experimentId": "3"}})

    told = look(staged(status), Observed((batch_job(),), (pod(0),), None, live=live)).status

    assert told["run"]["id"] == ""
    assert told["stages"][0]["run"]["id"] == "child"
    assert told["columns"]["run"] == "child"


@pytest.mark.parametrize("seconds", [0, 700])
def test_a_preparation_whose_source_is_not_there_waits_and_fails_as_a_training_does(seconds):
    planned = look(staged(), replace(NOTHING, source=None), START, now=NOW + timedelta(seconds=seconds))

    assert planned.status["state"] == ("Failed" if seconds else "Pending")
    assert planned.status["stages"][0]["state"] == ("Failed" if seconds else "Pending")


def test_a_job_that_finished_says_that_both_stages_have():
    status = prepared(running(look(staged(), NOTHING, START).status))
    second = look(staged(status, output=None), NOTHING, START).status
    ends = tuple(
        pod(index, "Succeeded", attempt=2, exit_code=0, message=record("Succeeded", NOW)) for index in range(2)
    )
    seen = Observed((batch_job("text-2", conditions=COMPLETE),), ends, None)

    done = look(staged(second, output=None), seen).status

    assert done["state"] == "Succeeded"
    assert [stage["state"] for stage in done["stages"]] == ["Succeeded", "Succeeded"]
    assert done["columns"]["progress"] == "100%"
    assert done["dataset"] == MADE
