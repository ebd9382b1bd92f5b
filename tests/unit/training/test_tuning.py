"""The stage Tune: trials are TrainingJobs of their own, and the best one's model is what comes out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.trainingjob import TrainingJob
from headrace.kube.errors import Forbidden, Invalid, KubeError, Refused
from headrace.kube.plan import Plan
from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, SERVICES, TRAININGJOBS, Object
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import Run
from headrace.training.finish import finish
from headrace.training.observed import Observed
from headrace.training.plan import after_refusal
from headrace.training.resolved_image import resolved
from headrace.training.stages import part_of
from headrace.training.status import finish_status
from headrace.training.tuning.ask import ask_of
from headrace.training.tuning.keep import served_by, undecided
from headrace.training.tuning.trial import render_trial
from headrace_common.protocol.config import parse_config
from headrace_common.protocol.trials import Answer
from training_builders import MADE, MODEL, NOW, PREPARE, SETTINGS, UID, batch_job, pod, record, stamp
from training_looks import created, kinds, look
from tuning_looks import (
    ANY_FAILURES,
    GIVEN,
    NOTHING,
    ONE_KEPT,
    SPEC,
    START,
    TUNING,
    a_trial,
    begun,
    ended,
    failed,
    over,
    passed,
    silent,
    spent,
    trial_object,
    trials,
    tuned,
)

SECOND = timedelta(seconds=1)
STOPPED = {"headrace.dev/pruned": "true"}
WEBHOOK = Forbidden("POST of TrainingJob: 403 Forbidden: denied the request", status=403)
FULL = Forbidden("POST of TrainingJob: 403 Forbidden: exceeded quota: trials", status=403)
JUDGED = {"evaluate": {"task": "Script", "entrypoint": "evaluate.py"}}


def begun_trials(planned: Plan) -> list[str]:
    return [obj["metadata"]["name"] for kind, obj in planned.creates if kind == TRAININGJOBS]


def test_a_pod_that_chooses_parameters_comes_first_and_the_source_is_pinned_for_all_trials() -> None:
    planned = look(tuned(), NOTHING, START)

    assert kinds(planned) == [NETWORKPOLICIES, CONFIGMAPS, SERVICES, JOBS]
    ingress = created(planned, NETWORKPOLICIES)["spec"]["ingress"]
    assert [port["port"] for port in ingress[1]["ports"]] == [9400, 9401]
    template = created(planned, JOBS)["spec"]["template"]["spec"]
    [trainer] = template["containers"]
    assert "source" not in [volume["name"] for volume in template["volumes"]]
    told = parse_config(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))
    assert (told.stage, told.entrypoint, told.parameters, told.datasets) == ("tune", "", {}, ())
    assert told.as_json()["protocol"] == 6
    assert told.tuning == part_of(tuned()).tunes
    assert told.tuning is not None
    assert (told.tuning.first, told.tuning.trials) == ({"rate": 0.01}, 4)
    status = planned.status or {}
    assert (status["stage"], status["columns"]["progress"]) == ("Tune", "tune 0/4")


def test_a_trial_is_the_jobs_own_training_with_other_parameters() -> None:
    made = render_trial(tuned({"dataset": MADE}, prepare=PREPARE, **JUDGED), 2, GIVEN)

    metadata, spec = made["metadata"], made["spec"]
    assert metadata["name"] == "text-t2"
    assert metadata["labels"]["headrace.dev/trial-of"] == "text"
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("TrainingJob", UID, True)
    assert spec["parameters"] == {"epochs": 3, "rate": 0.02, "kind": "tanh"}
    assert spec["source"] == {"configMap": {"name": "text-source"}}
    assert spec["output"] == {"model": "text", "formats": ["ONNX"]}
    kept = {"entrypoint", "strategy", "tracking", "checkpoint", "podTemplate", "datasets"}
    assert set(spec) == kept | {"source", "output", "parameters"}
    assert (spec["checkpoint"], spec["podTemplate"]) == ({"interval": "1m"}, SPEC["podTemplate"])
    trial = TrainingJob.model_validate(made)
    assert [one.digest for one in part_of(trial).datasets] == ["", MADE["digest"]]
    assert part_of(without_its_job(trial)).datasets == part_of(trial).datasets


def without_its_job(trial: TrainingJob) -> TrainingJob:
    return trial.model_copy(update={"metadata": trial.metadata.model_copy(update={"owner_references": ()})})


def test_labels_alone_make_no_trial() -> None:
    real = trial_object(0)
    foreign = real | {"metadata": real["metadata"] | {"ownerReferences": [{"uid": "other", "controller": True}]}}
    renamed = real | {"metadata": real["metadata"] | {"name": "text-t9"}}
    assert [trial.name for trial in trials(foreign, renamed, real)] == ["text-t0"]


def test_no_more_are_asked_for_than_run_at_once_and_the_lowest_numbers_first() -> None:
    def wanted(*objects: Object, **spec: Any) -> tuple[int, ...]:
        return ask_of(tuned(**spec), trials(*objects)).wanted

    assert wanted() == (0, 1)
    assert wanted(trial_object(0)) == (1,)
    assert wanted(trial_object(0), trial_object(1)) == ()
    assert wanted(ended(0, "0.5"), trial_object(2)) == (1,)
    assert wanted(ended(0, "0.5"), ended(1, "0.5"), failed(2)) == (3,)
    assert wanted(suspend=True) == ()


def test_what_the_pod_answers_is_begun_and_told() -> None:
    planned = passed(answer=Answer({0: GIVEN, 1: GIVEN | {"rate": 0.03}}))

    assert begun_trials(planned) == ["text-t0", "text-t1"]
    assert [event.reason for event in planned.events] == ["TrialStarted", "TrialStarted"]
    assert "trial text-t0: --rate=0.02 --kind=tanh" in planned.events[0].message


def test_status_says_what_the_trials_have_come_to() -> None:
    planned = passed(ended(0, "0.7"), ended(1, "0.9"), failed(2), trial_object(3))

    status = planned.status or {}
    assert status["tuning"]["trials"] == {"total": 4, "running": 1, "succeeded": 2, "failed": 1}
    assert status["tuning"]["best"] == {
        "name": "text-t1",
        "uid": "uid-t1",
        "number": 1,
        "value": "0.9",
        "parameters": {"kind": "tanh", "rate": "0.02"},
        "run": "run-1",
    }
    assert (status["columns"]["progress"], status["columns"]["metric"]) == ("tune 3/4", "val_accuracy=0.9")
    assert not begun_trials(planned)


def test_of_a_loss_the_least_is_the_best() -> None:
    least = {"tuning": TUNING | {"objective": {"metric": "val_accuracy", "goal": "Minimize"}}}
    status = passed(ended(0, "0.7"), ended(1, "0.9"), **least).status or {}
    assert status["tuning"]["best"]["name"] == "text-t0"


def decisions(planned: Plan) -> dict[str, str]:
    written = {patch.name: (patch.patch["metadata"].get("annotations") or {}) for patch in planned.patches}
    return {name: one["headrace.dev/trial-model"] for name, one in written.items() if "headrace.dev/trial-model" in one}


def test_models_of_all_but_the_best_are_given_up_once_it_is_known_that_no_version_refers_to_them() -> None:
    all_ended = (ended(0, "0.5"), ended(1, "0.9"), ended(2, "0.7"), ended(3, "0.9"))
    unknown = passed(*all_ended, **ONE_KEPT)
    assert decisions(unknown) == {}
    assert "MLflow does not say which models of trials a version refers to" in (unknown.status or {})["message"]

    kept = {"uid-t0": "", "uid-t1": "", "uid-t2": "version 3 of model team-a.other refers to it"}
    known = passed(*all_ended, kept_because=kept, **ONE_KEPT)
    # The best one never, whatever is known of it.
    assert decisions(known) == {"text-t0": "Removed", "text-t2": "Kept"}
    assert [event.reason for event in known.events] == ["TrialModelRemoved", "TrialModelKept"]
    assert "version 3 of model team-a.other refers to it" in known.events[1].message


def test_all_models_stay_where_nobody_asked_for_their_deletion() -> None:
    silent_on_it = {"tuning": {name: value for name, value in TUNING.items() if name != "keep"}}
    all_ended = tuple(ended(number, f"0.{number + 1}") for number in range(4))
    none_refers = {f"uid-t{number}": "" for number in range(4)}

    assert decisions(passed(*all_ended, kept_because=none_refers, **silent_on_it)) == {}
    assert ask_of(tuned(**silent_on_it), trials(*all_ended)).is_last


def test_the_pod_ends_when_it_is_decided_of_all_models_and_is_told_which_to_remove() -> None:
    job = tuned(**ONE_KEPT)
    assert not ask_of(job, trials(*(ended(number, "0.5") for number in range(4)))).is_last
    decided = trials(ended(0, "0.9"), spent(1, "0.5"), spent(2, "0.5", "Kept"), failed(3))
    asked = ask_of(job, decided)
    assert asked.is_last
    assert [trial.spent for trial in asked.trials] == [False, True, False, False]


def test_good_trials_whose_models_were_given_up_are_not_said_to_have_failed() -> None:
    left = (spent(0, "0.5"), spent(1, "0.6"), failed(2), failed(3))
    status = over(*left, **{"tuning": ONE_KEPT["tuning"] | {"maxFailedTrials": 4}}).status
    assert status is not None
    assert status["failure"]["reason"] == "NoTrialSucceeded"
    assert "no model is left: those of text-t0, text-t1 were deleted" in status["failure"]["message"]


def condition_of(planned: Plan) -> Object:
    found = [one for one in (planned.status or {})["conditions"] if one["type"] == "TrialModelsDecided"]
    return found[0] if found else {}


def test_the_end_does_not_wait_for_ever_for_a_mlflow_that_is_away() -> None:
    all_ended = tuple(ended(number, f"0.{number + 1}") for number in range(4))
    assert not condition_of(passed(*all_ended[:3], **ONE_KEPT))  # there are trials to be begun

    waiting = passed(*all_ended, **ONE_KEPT)
    assert condition_of(waiting)["status"] == "Unknown"
    assert not ask_of(tuned(waiting.status, **ONE_KEPT), trials(*all_ended)).is_last
    later = NOW + 601 * SECOND
    answered = passed(*all_ended, status=waiting.status, now=later, kept_because={"uid-t0": ""}, **ONE_KEPT)
    assert not condition_of(answered)

    stays = passed(*all_ended, status=waiting.status, now=later, **ONE_KEPT)
    assert (condition_of(stays)["status"], condition_of(stays)["reason"]) == ("True", "TrialModelsStay")
    assert ask_of(tuned(stays.status, **ONE_KEPT), trials(*all_ended)).is_last
    # The pod may have ended by now: nothing is given up any more of which it would not be told.
    back = passed(*all_ended, status=stays.status, now=later, kept_because={"uid-t0": ""}, **ONE_KEPT)
    assert decisions(back) == {}
    assert condition_of(back)["status"] == "True"


def test_a_model_that_a_service_of_the_namespace_serves_is_named_with_it() -> None:
    [trial] = trials(ended(1, "0.5"))
    folder = "s3://team-a/t1/model"

    def of(**service: Any) -> str:
        return served_by([{"metadata": {"name": "irises"}, **service}], trial, folder)

    loader = {"env": [{"value": json.dumps({"uri": f"{folder}/attempt-1"})}]}
    assert of(spec={"model": {"uri": f"{folder}/attempt-1"}}) == "ModelService irises serves it"
    assert of(spec={"model": {"uri": folder}})
    assert of(spec={}, status={"stable": {"digest": MODEL["digest"]}})
    assert of(spec={"template": {"spec": {"initContainers": [loader]}}})
    assert not of(spec={"model": {"uri": "s3://team-a/t1/model-2/attempt-1"}}, status={"stable": None})


def test_a_trial_whose_model_was_given_up_is_never_the_best_one() -> None:
    """Somebody has deleted the better one meanwhile: it is done again."""
    planned = passed(spent(1, "0.9"), answer=Answer({0: GIVEN}), **ONE_KEPT)
    assert "best" not in (planned.status or {})["tuning"]
    assert begun_trials(planned) == ["text-t0"]


@given(
    values=st.lists(st.sampled_from(["0.1", "0.5", "0.9"]), min_size=1, max_size=8),
    keep=st.integers(1, 4),
    data=st.data(),
)
def test_whatever_order_trials_end_in_the_model_that_comes_out_is_there(
    values: list[str], keep: int, data: st.DataObject
) -> None:
    """Decisions are made whenever a trial has ended, and some of them a while later."""
    spec = {"tuning": TUNING | {"keep": keep, "maxTrials": len(values)}}
    job, given_up, over_by_now = tuned(**spec), set[int](), list[int]()
    for number in data.draw(st.permutations(range(len(values)))):
        over_by_now.append(number)
        there = [spent(one, values[one]) if one in given_up else ended(one, values[one]) for one in over_by_now]
        open_ones = [trial.number for trial in undecided(job, trials(*there))]
        given_up |= set(data.draw(st.lists(st.sampled_from(open_ones), unique=True))) if open_ones else set()
    there = [spent(one, values[one]) if one in given_up else ended(one, values[one]) for one in range(len(values))]
    given_up |= {trial.number for trial in undecided(job, trials(*there))}
    assert len(values) - len(given_up) == min(keep, len(values))
    best = max(range(len(values)), key=lambda one: (float(values[one]), -one))
    assert best not in given_up


OWN = "registry.example.org/team/train"
RAN = f"{OWN}@sha256:" + "1" * 64


def trial_in(number: int, image_id: str) -> Object:
    return trial_object(number, attempt={"number": 1, "job": "j", "image": f"{OWN}:1", "imageID": image_id})


@pytest.mark.parametrize("where", ["image", "source"])
def test_the_first_trial_says_which_image_all_others_run(where: str) -> None:
    own: dict[str, Any] = {"image": f"{OWN}:1"} if where == "image" else {"source": {"image": f"{OWN}:1"}}
    assert ask_of(tuned(**own), ()).wanted == (0,)
    assert ask_of(tuned(**own), trials(trial_object(0))).wanted == ()
    assert ask_of(tuned(**own), trials(trial_in(0, RAN))).wanted == (1,)

    planned = passed(trial_in(0, RAN), answer=Answer({1: GIVEN}), **own)
    assert (planned.status or {})["tuning"]["image"] == RAN
    made = created(planned, TRAININGJOBS)["spec"]
    assert (made.get("image") or made["source"]["image"]) == RAN
    # It is kept: what another trial says changes nothing.
    later = passed(trial_in(0, RAN.replace("1", "2")), status=planned.status, **own)
    assert (later.status or {})["tuning"]["image"] == RAN


def test_an_image_that_is_known_is_not_waited_for() -> None:
    for spec in ({}, {"image": RAN}):
        assert ask_of(tuned(**spec), ()).wanted == (0, 1)
    planned = passed(answer=Answer({0: GIVEN}))
    assert created(planned, TRAININGJOBS)["spec"]["image"] == SETTINGS.trainer_image
    upgraded = passed(status=planned.status, answer=Answer({1: GIVEN}), settings=replace(SETTINGS, trainer_image="new"))
    assert created(upgraded, TRAININGJOBS)["spec"]["image"] == SETTINGS.trainer_image


def test_a_later_attempt_of_a_trial_runs_the_image_that_its_first_has_run() -> None:
    attempt = {"number": 1, "job": "text-1", "image": f"{OWN}:1", "imageID": RAN, "finishedAt": stamp(NOW)}
    planned = look(a_trial({"state": "Restarting", "attempt": attempt}), NOTHING, START)
    assert (planned.status or {})["attempt"]["image"] == RAN


@pytest.mark.parametrize(
    ("reference", "image_id", "expected"),
    [
        ("python:3.12", "docker.io/library/python@sha256:" + "a" * 64, "python@sha256:" + "a" * 64),
        ("team/x:1", "docker-pullable://team/x@sha256:" + "a" * 64, "team/x@sha256:" + "a" * 64),
        ("localhost:5000/x", "localhost:5000/x@sha256:" + "a" * 64, "localhost:5000/x@sha256:" + "a" * 64),
        ("x:1", "sha256:" + "a" * 64, "x:1"),
        ("x:1", "docker.io/library/import-2026@sha256:" + "a" * 64, "x:1"),
        ("x:1", "", "x:1"),
    ],
)
def test_an_image_is_named_by_its_digest_where_a_registry_has_it(reference: str, image_id: str, expected: str) -> None:
    assert resolved(reference, image_id) == expected


def test_all_trials_are_told_one_place_of_what_their_datasets_are() -> None:
    trial = TrainingJob.model_validate(render_trial(tuned(), 2, GIVEN))
    assert part_of(trial).shares_inputs == part_of(without_its_job(trial)).shares_inputs == UID
    planned = look(a_trial({}), NOTHING, replace(START, bucket="team-a"))
    [trainer] = created(planned, JOBS)["spec"]["template"]["spec"]["containers"]
    told = parse_config(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))
    assert told.inputs == f"s3://team-a/headrace/checkpoints/{UID}/inputs"
    assert told.as_json()["protocol"] == 6
    assert part_of(tuned(tuning=None)).shares_inputs == ""


def test_trials_wait_while_their_job_does() -> None:
    planned = passed(trial_object(0), ended(1, "0.9"), answer=Answer({2: GIVEN}), suspend=True)

    [patch] = [patch for patch in planned.patches if patch.resource == TRAININGJOBS]
    assert (patch.name, patch.patch["spec"]) == ("text-t0", {"suspend": True})
    assert not begun_trials(planned)
    held = trial_object(0) | {"spec": trial_object(0)["spec"] | {"suspend": True}}
    [patch] = [patch for patch in passed(held).patches if patch.resource == TRAININGJOBS]
    assert patch.patch["spec"] == {"suspend": False}


def test_a_trial_that_is_behind_is_suspended_for_good() -> None:
    pruner = {"tuning": TUNING | {"pruner": {"startupTrials": 1}}}
    answer = Answer({}, pruned=(0, 1))
    planned = passed(trial_object(0), ended(1, "0.9"), answer=answer, **pruner)
    patches = [(patch.name, patch.patch) for patch in planned.patches if patch.resource == TRAININGJOBS]
    assert (
        patches
        == [
            ("text-t0", {"metadata": {"uid": "uid-t0", "annotations": STOPPED}, "spec": {"suspend": True}}),
            ("text-t1", {"metadata": {"uid": "uid-t1", "annotations": STOPPED}, "spec": {"suspend": True}}),
        ][:1]
    )
    assert [event.reason for event in planned.events] == ["TrialPruned"]

    def stopped(state: str) -> Object:
        made = trial_object(0, state)
        metadata = made["metadata"] | {"annotations": STOPPED}
        return made | {"metadata": metadata, "spec": made["spec"] | {"suspend": True}}

    ending, over_by_now = stopped("Running"), stopped("Suspended")
    assert ask_of(tuned(**pruner), trials(ending, trial_object(1))).wanted == ()
    assert ask_of(tuned(**pruner), trials(over_by_now, trial_object(1))).wanted == (2,)
    later = passed(over_by_now, ended(1, "0.9"), answer=answer, **pruner)
    assert not [patch for patch in later.patches if patch.resource == TRAININGJOBS]
    status = later.status or {}
    assert status["tuning"]["trials"] == {"total": 4, "running": 0, "succeeded": 1, "failed": 0, "pruned": 1}
    assert status["columns"]["progress"] == "tune 2/4"


def test_who_is_stopped_makes_room_before_others_begin() -> None:
    """A trial that is refused would keep it running."""
    pruner = {"tuning": TUNING | {"pruner": {"startupTrials": 1}}}
    planned = passed(trial_object(0), ended(1, "0.9"), answer=Answer({2: GIVEN}, pruned=(0,)), **pruner)
    assert [patch.name for patch in planned.patches if patch.resource == TRAININGJOBS] == ["text-t0"]
    assert not begun_trials(planned)


def conditions(planned: Plan) -> dict[str, Object]:
    return {one["type"]: one for one in (planned.status or {})["conditions"]}


def test_a_pod_that_does_not_answer_is_told_and_replaced_in_the_end() -> None:
    silent, later = passed(), NOW + timedelta(seconds=40)
    assert conditions(silent)["TrialsChosen"]["reason"] == "TuningNotAnswering"
    told = passed(status=silent.status, now=later).status or {}
    assert told["state"] == "Running"
    assert "does not say which parameters" in told["message"]
    assert told["message"] == (passed(status=told, now=later + SECOND).status or {})["message"]

    answered = passed(status=told, now=later, answer=Answer())
    assert "TrialsChosen" not in conditions(answered)
    assert "does not say" not in (answered.status or {})["message"]

    writes = passed(status=told, now=NOW + timedelta(seconds=700), told="Exporting")
    assert (writes.status or {})["reason"] == "Exporting"
    assert "TrialsChosen" not in conditions(writes)

    replaced = passed(status=told, now=NOW + timedelta(seconds=601))
    status = replaced.status or {}
    assert (status["state"], status["failure"]["reason"]) == ("Restarting", "TuningNotAnswering")
    assert [delete.resource for delete in replaced.deletes] == [JOBS]
    # What is of the pod before is not held against the one that follows, however long it was in coming.
    later = stamp(NOW + timedelta(seconds=1200))
    following = told | {"attempt": told["attempt"] | {"startedAt": later}}
    first = passed(status=following, now=NOW + timedelta(seconds=2000))
    assert (first.status or {})["state"] == "Running"
    heard = passed(status=told, now=NOW + timedelta(seconds=601), answer=Answer()).status or {}
    assert heard["state"] == "Running"


def refused(status: Object | None, now: datetime, error: KubeError = FULL, **spec: Any) -> Plan:
    return after_refusal(tuned(status, **spec), Refused(error), now, SETTINGS)


@pytest.mark.parametrize(("error", "limit"), [(WEBHOOK, 600), (FULL, None)])
def test_a_trial_that_is_refused_ends_no_others(error: KubeError, limit: int | None) -> None:
    """However long the pod of the tuning has run: the time is counted from the first refusal."""
    first = NOW + timedelta(hours=5)
    planned = refused(passed(trial_object(0), answer=Answer({1: GIVEN})).status, first, error)
    status = planned.status or {}
    assert (status["state"], status["reason"]) == ("Running", "Tuning")
    assert str(error) in status["message"]
    assert [event.reason for event in planned.events] == ["Refused"]

    looked = passed(trial_object(0), answer=Answer({1: GIVEN}), status=status, now=first + SECOND)
    again = refused(looked.status, first + SECOND, error)
    assert (again.status, again.events) == (looked.status, ())
    assert (looked.status or {})["message"] == status["message"]

    later = refused(looked.status, first + timedelta(seconds=(limit or 10**6) + 2), error).status or {}
    assert later["state"] == ("Running" if limit is None else "Failed")
    begun_by_now = passed(trial_object(0), trial_object(1), answer=Answer(), status=looked.status)
    assert "TrialsCreated" not in conditions(begun_by_now)
    assert str(error) not in (begun_by_now.status or {})["message"]


def test_a_trial_that_can_never_be_created_ends_the_job() -> None:
    status = refused(passed(answer=Answer({0: GIVEN})).status, NOW, Invalid("422 Invalid: name", status=422)).status
    assert status is not None
    assert (status["state"], status["failure"]["reason"]) == ("Failed", "Refused")
    assert "a trial cannot be created: 422 Invalid: name" in status["failure"]["message"]


def test_more_failures_than_allowed_end_the_job_and_what_runs() -> None:
    assert (passed(failed(0)).status or {})["state"] == "Running"
    planned = passed(failed(0), failed(1), trial_object(2), answer=Answer({3: GIVEN}))

    status = planned.status or {}
    assert (status["state"], status["reason"]) == ("Failed", "TrialsFailed")
    assert "2 trials have failed, and tuning.maxFailedTrials allows 1: text-t0, text-t1" in status["message"]
    assert "ScriptRaised: ValueError: x" in status["message"]
    assert [delete.name for delete in planned.deletes] == ["text-1", "text-t2"]
    assert not begun_trials(planned)


def test_a_metric_that_nobody_reports_is_said_after_the_first_trial() -> None:
    status = passed(silent(0), trial_object(1)).status or {}

    assert (status["state"], status["reason"]) == ("Failed", "ObjectiveNotReported")
    assert "trial text-t0 has ended, and has logged no val_accuracy (metrics that it has: loss)" in status["message"]
    assert (passed(silent(0), ended(1, "0.5")).status or {})["tuning"]["trials"]["failed"] == 1
    assert (passed(ended(0, "NaN"), ended(1, "0.5")).status or {})["tuning"]["trials"]["failed"] == 1


def test_a_tuning_that_has_failed_counts_no_trial_as_running() -> None:
    planned = passed(silent(0), trial_object(1))

    status = planned.status or {}
    counts = {"total": 4, "running": 0, "succeeded": 0, "failed": 1, "deleted": 1}
    assert (status["state"], status["tuning"]["trials"]) == ("Failed", counts)
    assert status["columns"]["progress"] == "tune 1/4"
    # The trial that was deleted is gone by then.
    after = look(tuned(status), replace(NOTHING, trials=trials(silent(0))), START).status or {}
    assert after["tuning"]["trials"] == counts


def test_a_tuning_that_failed_under_an_older_release_counts_no_trial_as_running() -> None:
    status = passed(silent(0), trial_object(1)).status or {}
    older = status | {"tuning": {"trials": {"total": 4, "running": 2, "succeeded": 0, "failed": 0}}}

    found = look(tuned(older), replace(NOTHING, trials=trials(silent(0))), START).status or {}

    assert found["tuning"]["trials"] == {"total": 4, "running": 0, "succeeded": 0, "failed": 0, "deleted": 2}


def test_a_tuning_whose_deadline_has_passed_counts_no_trial_as_running() -> None:
    late = batch_job(conditions=(("Failed", "DeadlineExceeded"),))
    seen = Observed((late,), (), None, trials=trials(ended(0, "0.5"), trial_object(1)))

    status = look(tuned(passed(trial_object(0), trial_object(1)).status), seen, START).status or {}

    assert (status["state"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["tuning"]["trials"] == {"total": 4, "running": 0, "succeeded": 1, "failed": 0, "deleted": 1}


def test_a_trial_that_can_never_be_created_leaves_none_running() -> None:
    under_way = passed(trial_object(0)).status
    status = refused(under_way, NOW, Invalid("POST of TrainingJob: 422 Invalid", status=422)).status or {}

    assert (status["state"], status["tuning"]["trials"]["running"]) == ("Failed", 0)


def test_what_is_said_when_all_trials_are_over() -> None:
    message = (passed(*(ended(number, "0.5") for number in range(4))).status or {})["message"]

    assert message.startswith("all trials have ended")
    assert "trials are running" not in message


def test_the_best_trials_model_is_registered_when_all_are_over() -> None:
    planned = over(ended(0, "0.7"), ended(1, "0.9"), failed(2), ended(3, "0.9"))

    status = planned.status or {}
    assert (status["state"], status["reason"]) == ("Finishing", "Judging")
    assert status["model"] == {"name": "team-a.text", "digest": MODEL["digest"], "uri": "s3://team-a/t1/model"}
    assert (status["tuning"]["best"]["uid"], status["run"]["id"]) == ("uid-t1", "r1")
    assert "the best trial is text-t1, with val_accuracy 0.9" in status["message"]


def test_the_best_trials_model_is_evaluated_where_that_is_asked_for() -> None:
    spec = JUDGED
    planned = over(*(ended(number, "0.9") for number in range(4)), **spec)

    status = planned.status or {}
    assert (status["state"], status["stage"], status["metrics"]) == ("Pending", "Evaluate", {"val_accuracy": "0.9"})
    assert [(one["name"], one["state"]) for one in status["stages"]] == [("Tune", "Succeeded"), ("Evaluate", "Pending")]
    following = look(tuned(status, **spec), replace(NOTHING, trials=trials(ended(0, "0.9"))), START)
    [trainer] = created(following, JOBS)["spec"]["template"]["spec"]["containers"]
    told = json.loads(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))
    assert told["evaluate"]["model"]["uri"] == "s3://team-a/t0/model"
    # The card is the training's that made the model; what is measured stands with the job's run.
    assert (told["evaluate"]["training"], told["evaluate"]["parent"]) == ("run-0", "r1")


def test_the_pods_word_is_not_taken_for_it_that_all_are_over() -> None:
    running = passed(ended(0, "0.7")).status
    status = over(ended(0, "0.7"), trial_object(1), status=running).status or {}
    assert (status["state"], status["reason"]) == ("Restarting", "TuningEndedEarly")


def test_none_that_ended_well_is_no_model() -> None:
    status = over(*(failed(number) for number in range(4)), **ANY_FAILURES).status or {}
    assert (status["state"], status["reason"]) == ("Failed", "NoTrialSucceeded")


def test_a_trial_ends_without_a_version_and_leaves_what_its_job_needs() -> None:
    attempt = {"number": 1, "job": "text-1", "jobUID": "uid-of-text-1", "image": "i"}
    job = a_trial({"state": "Running", "attempt": attempt})
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, model=MODEL))
    status = look(job, Observed((batch_job(conditions=(("Complete", ""),)),), (done,), None), START).status or {}

    assert status["state"] == "Finishing"
    assert status["model"]["formats"] == ["TensorFlow", "ONNX"]


class OneRun(Ledger):
    """MLflow with the trial's run, which has these metrics; nothing else may be asked of it."""

    def __init__(self, **metrics: float) -> None:
        self._metrics = metrics

    async def find_run(self, experiment_id: str, uid: str) -> Run:
        assert uid == UID
        artifacts = "s3://team-a/mlflow/x/r1/artifacts"
        return Run("r1", "3", "FINISHED", artifacts, metrics=self._metrics, tags={"headrace.digest": MODEL["digest"]})


def test_what_the_launcher_has_not_told_of_a_trial_is_read_from_its_run() -> None:
    model = {"name": "team-a.text", "uri": MODEL["uri"], "digest": MODEL["digest"]}
    many = {f"a{number:02}": "0" for number in range(64)}
    job = a_trial({"state": "Finishing", "model": model, "run": {"id": "r1"}, "metrics": many})

    verdict = asyncio.run(finish(job, OneRun(val_accuracy=0.8, loss=0.1), "", NOW))
    status = finish_status(job, verdict.status, NOW)
    assert (status["state"], status["reason"], status["metrics"]["val_accuracy"]) == ("Succeeded", "TrialEnded", "0.8")
    assert "version" not in status["model"]
    message = asyncio.run(finish(job, OneRun(loss=0.1), "", NOW)).status.message or ""
    assert "no val_accuracy was logged" in message


def test_a_trial_that_has_outlived_its_job_becomes_no_version() -> None:
    """kubectl delete --cascade=orphan: its gates and its approval have gone with the job. OneRun has no registry."""
    model = {"name": "team-a.text", "uri": MODEL["uri"], "digest": MODEL["digest"]}
    trial = a_trial({"state": "Finishing", "model": model, "run": {"id": "r1"}})
    orphan = without_its_job(trial)

    verdict = asyncio.run(finish(orphan, OneRun(val_accuracy=0.8), "", NOW))
    status = finish_status(orphan, verdict.status, NOW)
    assert (status["state"], status["reason"], verdict.event.reason) == (
        "Succeeded",
        "TrialOrphaned",
        "TrialOrphaned",
    )
    assert "version" not in status["model"]
    assert "not registered: it was a trial of text, which is gone" in status["message"]


@pytest.mark.parametrize("state", ["Pending", "Running", "Suspended"])
def test_a_job_that_is_deleted_begins_none(state: str) -> None:
    job = tuned(begun() | {"state": state})
    gone = job.model_copy(update={"metadata": job.metadata.model_copy(update={"deletion_timestamp": NOW})})
    planned = look(gone, Observed((batch_job(),), (pod(0),), None, answer=Answer({0: GIVEN})), START)
    assert not planned.creates
