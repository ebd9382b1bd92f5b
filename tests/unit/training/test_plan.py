"""What a pass over a TrainingJob plans, from the first look to the last pod let go."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.common import FailureClass
from headrace.kube.resources import CONFIGMAPS, JOBS, PODS, SERVICES, TRAININGJOBS
from headrace.training.observed import Live, Observed, Source
from headrace.training.plan import Problem, Start, plan
from headrace.training.record import Progress
from training_builders import NOW, SETTINGS, UID, batch_job, pod, record, stamp, training_job, unschedulable

SOURCE = Source({"train.py": "print()"}, "5")
NOTHING = Observed(jobs=(), pods=(), source=SOURCE)
FAILED = (("Failed", "BackoffLimitExceeded"),)
RAISED = {"class": "UserCode", "reason": "ScriptRaised", "message": "ValueError: x", "exitCode": 1}


def under_way(number=1, **more):
    attempt = {
        "number": number,
        "job": f"text-{number}",
        "jobUID": f"uid-of-text-{number}",
        "image": "i",
        "startedAt": stamp(NOW),
    }
    return {"state": "Running", "attempt": attempt, "startTime": stamp(NOW)} | more


def look(job, observed, start=None, now=NOW):
    return plan(job, observed, start or Start(), now, SETTINGS)


def kinds(planned):
    return [resource for resource, _ in planned.creates]


def created(planned, resource):
    return next(obj for kind, obj in planned.creates if kind == resource)


# -- the beginning


def test_the_first_pass_writes_the_attempt_and_creates_its_objects():
    planned = look(training_job(), NOTHING)

    assert planned.status["attempt"]["number"] == 1
    assert planned.status["attempt"]["job"] == "text-1"
    assert kinds(planned) == [CONFIGMAPS, SERVICES, JOBS]
    assert planned.status_first


def test_a_second_pass_before_the_job_was_seen_creates_the_same_again():
    first = look(training_job(), NOTHING)

    again = look(training_job(first.status), NOTHING)

    assert again.creates == first.creates


def test_the_job_is_indexed_never_retries_and_keeps_its_pods_until_their_record_is_taken():
    job = created(look(training_job(workers=3), NOTHING), JOBS)

    assert job["spec"]["completionMode"] == "Indexed"
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (3, 3, 0)
    assert job["spec"]["template"]["metadata"]["finalizers"] == ["headrace.dev/record"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["metadata"]["ownerReferences"][0]["uid"] == UID


def test_the_pod_runs_without_privilege_and_without_a_token():
    job = created(look(training_job(), NOTHING), JOBS)
    spec = job["spec"]["template"]["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_users_pod_template_adds_to_the_trainer_and_cannot_take_the_bookkeeping_away():
    overlay = {
        "metadata": {"labels": {"team": "a", "headrace.dev/attempt": "9"}, "finalizers": []},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "trainer", "env": [{"name": "X", "value": "1"}]}]},
    }
    job = created(look(training_job(podTemplate=overlay), NOTHING), JOBS)
    template = job["spec"]["template"]

    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["labels"]["headrace.dev/attempt"] == "1"
    assert template["metadata"]["finalizers"] == ["headrace.dev/record"]
    assert template["spec"]["restartPolicy"] == "Never"
    assert [env["name"] for env in template["spec"]["containers"][0]["env"]][-1] == "X"


@pytest.mark.parametrize(
    ("source", "reason"), [(None, "SourceNotFound"), (Source({"other.py": ""}, "1"), "EntrypointNotFound")]
)
def test_a_source_that_is_not_there_is_waited_for_and_then_fails(source, reason):
    observed = replace(NOTHING, source=source)

    waiting = look(training_job(), observed)
    too_late = look(training_job(), observed, now=NOW + timedelta(seconds=601))

    assert (waiting.status["state"], waiting.status["reason"]) == ("Pending", reason)
    assert waiting.creates == ()
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Config")


def test_a_registry_that_is_away_is_waited_for_without_end():
    start = Start(problem=Problem(FailureClass.TRACKING, "TrackingUnavailable", "no connection", patient=True))

    planned = look(training_job(), NOTHING, start, NOW + timedelta(days=1))

    assert (planned.status["state"], planned.status["reason"]) == ("Pending", "TrackingUnavailable")


def test_nothing_starts_while_pods_of_an_earlier_job_of_this_name_still_run():
    planned = look(training_job(), replace(NOTHING, strangers=(pod(0),)))

    assert planned.creates == ()


def test_a_suspended_job_creates_nothing():
    planned = look(training_job(suspend=True), NOTHING)

    assert (planned.status["state"], planned.creates) == ("Suspended", ())


# -- under way


def test_progress_of_the_chief_becomes_status_and_columns():
    live = Live("Training", Progress(45.7, 1320, 5, 10, 450, 1000), {"val_accuracy": 0.25}, None, None, None, {})
    observed = Observed((batch_job(),), (pod(0), pod(1)), None, live)

    status = look(training_job(under_way()), observed).status

    assert (status["state"], status["reason"]) == ("Running", "Training")
    assert status["progress"]["percent"] == 45
    assert (status["columns"]["progress"], status["columns"]["eta"]) == ("45%", "22m")
    assert status["columns"]["metric"] == "val_accuracy=0.25"
    assert status["columns"]["workers"] == "2/2"


def test_a_chief_that_ended_before_its_job_did_does_not_look_as_if_it_were_starting():
    done = pod(0, "Running", exit_code=0, message=record("Succeeded", NOW))
    observed = Observed((batch_job(),), (done, pod(1)), None)

    status = look(training_job(under_way()), observed).status

    assert (status["state"], status["reason"]) == ("Running", "Ending")


def test_pods_that_no_node_fits_queue_and_fail_at_the_start_deadline():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1: Insufficient nvidia.com/gpu"),))
    observed = Observed((batch_job(),), (stuck,), None)

    waiting = look(training_job(under_way()), observed)
    too_late = look(training_job(under_way()), observed, now=NOW + timedelta(seconds=601))

    assert (waiting.status["state"], waiting.status["reason"]) == ("Queued", "Unschedulable")
    assert "nvidia.com/gpu" in waiting.status["message"]
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Scheduling")
    assert [delete.name for delete in too_late.deletes] == ["text-1"]


def test_a_status_that_says_the_same_twice_is_the_same():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1"),))
    first = look(training_job(under_way()), Observed((batch_job(),), (stuck,), None))

    second = look(training_job(first.status), Observed((batch_job(),), (stuck,), None), now=NOW + timedelta(seconds=30))

    assert second.status == first.status


# -- the end of an attempt


def failed_pods():
    return (
        pod(0, "Failed", exit_code=1, message=record("Failed", NOW, **RAISED)),
        pod(1, "Failed", exit_code=6, message=record("Interrupted", NOW + timedelta(seconds=1))),
    )


def test_a_failure_that_counts_restarts_after_a_wait():
    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == ("Restarting", 1)
    assert planned.status["failure"]["reason"] == "ScriptRaised"
    assert planned.status["failure"]["retryable"] is True
    assert planned.status["columns"]["try"] == "2/4"
    assert planned.status["nextAttemptAt"] == stamp(NOW + timedelta(seconds=5))


def test_pods_are_released_only_together_with_the_status_that_holds_their_record():
    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert planned.status_first
    assert {patch.resource for patch in planned.patches} == {PODS}
    assert planned.patches[0].patch["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]


def test_no_verdict_while_a_pod_may_still_change_its_record():
    still_running = (failed_pods()[0], pod(1))

    planned = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), still_running, None))

    assert planned.status["reason"] == "Ending"
    assert planned.patches == ()


def test_the_last_restart_fails_the_job():
    job = training_job(under_way(attemptsCounted=3))

    planned = look(job, Observed((batch_job(conditions=FAILED),), failed_pods(), None))

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "ScriptRaised")
    assert planned.status["failure"]["retryable"] is False
    assert planned.status["columns"]["try"] == "4/4"


def test_a_disruption_restarts_and_counts_nothing():
    gone = pod(0, "Failed", exit_code=6, deleted_at=NOW, message=record("Interrupted", NOW, **{"class": "Disrupted"}))

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(conditions=FAILED),), (gone,), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == ("Restarting", 0)


def test_the_next_attempt_starts_when_its_time_has_come_and_not_before():
    first = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None)).status
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)

    early = look(training_job(first), observed, now=NOW + timedelta(seconds=2))
    due = look(training_job(first), observed, now=NOW + timedelta(seconds=6))

    assert early.creates == ()
    assert early.requeue_after == pytest.approx(3)
    assert due.status["attempt"]["number"] == 2
    assert [o["metadata"]["name"] for r, o in due.creates if r == JOBS] == ["text-2"]


def test_a_job_deleted_by_hand_is_a_disruption():
    planned = look(training_job(under_way()), Observed((), (), None))

    assert (planned.status["state"], planned.status["failure"]["class"]) == ("Restarting", "Disrupted")


def test_suspending_stops_the_job_and_ends_the_attempt_once_its_pods_are_over():
    job = training_job(under_way(), suspend=True, workers=1)

    stopping = look(job, Observed((batch_job(),), (pod(0),), None))
    stopped = look(job, Observed((), (pod(0, "Failed", exit_code=6, deleted_at=NOW),), None))

    assert [delete.name for delete in stopping.deletes] == ["text-1"]
    assert stopped.status["state"] == "Suspended"
    assert stopped.status["history"][0]["outcome"] == "Suspended"
    assert stopped.status["attemptsCounted"] == 0


# -- success


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


def test_an_end_with_exit_0_and_no_record_is_no_success():
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), (pod(0, "Succeeded", exit_code=0),), None)

    planned = look(training_job(under_way(), workers=1), observed)

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "NoRecord")


def test_with_an_output_the_intent_to_register_comes_into_status_first():
    model = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": "sha256:" + "a" * 64, "formats": ["ONNX"]}
    job = training_job(under_way(), output={"model": "text"}, tracking={"experiment": "x"})
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), succeeded(model=model), None)

    planned = look(job, observed)

    assert planned.status["state"] == "Finishing"
    assert planned.status["model"]["name"] == "team-a.text"
    assert planned.status["model"]["digest"] == model["digest"]
    assert planned.requeue_after == 0.0


def test_a_finished_job_is_deleted_when_its_time_to_live_is_over():
    status = {"state": "Succeeded", "completionTime": stamp(NOW)}
    job = training_job(status, ttlSecondsAfterFinished=60)

    waits = look(job, Observed((), (), None), now=NOW + timedelta(seconds=20))
    goes = look(job, Observed((), (), None), now=NOW + timedelta(seconds=60))

    assert waits.deletes == ()
    assert waits.requeue_after == pytest.approx(40)
    assert [(d.resource, d.uid) for d in goes.deletes] == [(TRAININGJOBS, UID)]
