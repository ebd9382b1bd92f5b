"""What a pass over a TrainingJob plans, from the first look to the last pod let go."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.common import FailureClass
from headrace.kube.errors import Forbidden, Invalid, Refused
from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, PODS, SERVICES, TRAININGJOBS
from headrace.training.job import AttemptContext, launcher_config
from headrace.training.observed import Observed, Source
from headrace.training.plan import after_refusal, plan
from headrace.training.record import read_live
from headrace.training.step import POLL_RUNNING
from headrace.training.view import Problem, Start
from headrace_common.protocol.parts import Progress
from headrace_common.protocol.report import Live
from training_builders import (
    NOW,
    SETTINGS,
    UID,
    batch_job,
    container,
    ended,
    pod,
    record,
    stamp,
    training_job,
    unschedulable,
)

SOURCE = Source({"train.py": "print()"}, "5")
NOTHING = Observed(jobs=(), pods=(), source=SOURCE)
FAILED = (("Failed", "BackoffLimitExceeded"),)
SECOND = timedelta(seconds=1)
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
    assert kinds(planned) == [NETWORKPOLICIES, CONFIGMAPS, SERVICES, JOBS]


def test_a_job_s_pods_are_reached_by_each_other_and_for_progress_by_the_operator():
    planned = look(training_job(), NOTHING)

    spec = created(planned, NETWORKPOLICIES)["spec"]
    template = created(planned, JOBS)["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert spec["podSelector"]["matchLabels"] == {"headrace.dev/trainingjob-uid": UID}
    among_workers, from_operator = spec["ingress"]
    assert among_workers == {"from": [{"podSelector": spec["podSelector"]}]}
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": SETTINGS.operator_namespace}}
    assert from_operator["from"] == [{"namespaceSelector": namespace}]
    assert [port["port"] for port in from_operator["ports"]] == [9400]


def test_where_the_installation_wants_no_network_policies_there_are_none():
    planned = plan(training_job(), NOTHING, Start(), NOW, replace(SETTINGS, network_policies=False))

    assert kinds(planned) == [CONFIGMAPS, SERVICES, JOBS]


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


@pytest.mark.parametrize(("period", "pod", "launcher"), [(None, 30, "25"), ("2m", 120, "115"), ("15500ms", 16, "11")])
def test_the_grace_period_is_the_pods_and_the_launchers(period, pod, launcher):
    checkpoint = {} if period is None else {"checkpoint": {"gracePeriod": period}}
    spec = created(look(training_job(**checkpoint), NOTHING), JOBS)["spec"]["template"]["spec"]

    assert spec["terminationGracePeriodSeconds"] == pod
    [grace] = [one["value"] for one in spec["containers"][0]["env"] if one["name"] == "HEADRACE_GRACE_SECONDS"]
    assert grace == launcher


def test_the_pods_ask_for_the_releases_pull_secrets():
    settings = replace(SETTINGS, image_pull_secrets=("registry",))

    job = created(plan(training_job(), NOTHING, Start(), NOW, settings), JOBS)

    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_pods_are_told_the_package_index_and_the_users_own_wins():
    settings = replace(SETTINGS, package_index_url="https://pypi.example.com/simple")
    plain = {"name": "UV_DEFAULT_INDEX", "value": "https://own.example.com/simple"}
    secret = {"name": "UV_DEFAULT_INDEX", "valueFrom": {"secretKeyRef": {"name": "package-index", "key": "url"}}}

    def index_of(job, settings):
        [container] = created(plan(job, NOTHING, Start(), NOW, settings), JOBS)["spec"]["template"]["spec"][
            "containers"
        ]
        return [env for env in container["env"] if env["name"] == "UV_DEFAULT_INDEX"]

    assert index_of(training_job(), SETTINGS) == []
    assert [env["value"] for env in index_of(training_job(), settings)] == ["https://pypi.example.com/simple"]
    for own in (plain, secret):
        overlay = {"spec": {"containers": [{"name": "trainer", "env": [own]}]}}
        assert index_of(training_job(podTemplate=overlay), settings) == [own]


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


def begun(**more):
    """The attempt is in status and its Job was not made."""
    attempt = {"number": 1, "job": "text-1", "image": "i", "startedAt": stamp(NOW)}
    return {"state": "Pending", "attempt": attempt, "startTime": stamp(NOW)} | more


def test_an_attempt_whose_job_was_not_made_waits_for_a_registry_that_went_away_meanwhile():
    away = Start(problem=Problem(FailureClass.TRACKING, "TrackingUnavailable", "no connection", patient=True))

    planned = look(training_job(begun()), NOTHING, away)

    assert (planned.creates, planned.status["reason"]) == ((), "TrackingUnavailable")
    assert "finishedAt" not in planned.status["attempt"]


def test_an_attempt_whose_job_was_not_made_waits_for_a_source_that_went_away_meanwhile_and_then_fails():
    gone = replace(NOTHING, source=None)

    waiting = look(training_job(begun()), gone)
    too_late = look(training_job(waiting.status), gone, now=NOW + 601 * SECOND)

    assert (waiting.creates, waiting.status["reason"]) == ((), "SourceNotFound")
    assert (too_late.status["state"], [entry["attempt"] for entry in too_late.status["history"]]) == ("Failed", [1])


def test_an_attempt_whose_job_was_not_made_begins_when_what_was_missing_is_there():
    waiting = look(training_job(begun()), replace(NOTHING, source=None)).status

    planned = look(training_job(waiting), NOTHING, Start("7", "team-a", "team-a/x"))

    assert kinds(planned) == [NETWORKPOLICIES, CONFIGMAPS, SERVICES, JOBS]
    assert (planned.status["reason"], planned.status["run"]["experimentID"]) == ("WaitingForPods", "7")


def test_what_the_api_server_will_never_take_ends_the_job_and_says_why():
    refusal = Refused(Invalid("POST of Job: 422 Invalid: must be an integer", status=422))

    planned = after_refusal(training_job(begun()), refusal, NOW, SETTINGS)

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "Refused")
    assert (planned.status["failure"]["class"], planned.status.get("attemptsCounted", 0)) == ("Config", 0)
    assert "must be an integer" in planned.status["message"]


def test_what_the_api_server_does_not_take_now_is_tried_again_until_the_start_deadline():
    refusal = Refused(Forbidden("POST of Job: 403 Forbidden: exceeded quota", status=403))

    first = after_refusal(training_job(begun(), startDeadlineSeconds=600), refusal, NOW, SETTINGS)
    again = look(training_job(first.status, startDeadlineSeconds=600), NOTHING, now=NOW + 2 * SECOND)
    second = after_refusal(training_job(again.status, startDeadlineSeconds=600), refusal, NOW + 2 * SECOND, SETTINGS)
    too_late = after_refusal(
        training_job(second.status, startDeadlineSeconds=600), refusal, NOW + 601 * SECOND, SETTINGS
    )

    assert (first.status["state"], first.status["reason"]) == ("Pending", "Refused")
    assert "exceeded quota" in first.status["message"]
    assert JOBS in kinds(again)
    assert first.status == again.status == second.status
    assert (len(first.events), second.events) == (1, ())
    assert (too_late.status["state"], too_late.status["failure"]["reason"]) == ("Failed", "Refused")


def test_pods_that_the_job_controller_cannot_make_are_told_with_its_words_and_waited_for_until_the_start_deadline():
    batch = batch_job(startTime=stamp(NOW))
    observed = Observed((batch,), (pod(0),), None, refusal='error looking up service account "nobody"')

    early = look(training_job(under_way()), observed, now=NOW + 2 * SECOND)
    waiting = look(training_job(under_way()), observed, now=NOW + 4 * SECOND)
    too_late = look(training_job(under_way()), observed, now=NOW + 601 * SECOND)

    assert early.status["reason"] != "PodsRefused"
    assert (waiting.status["state"], waiting.status["reason"]) == ("Starting", "PodsRefused")
    assert (
        '1 of 2 pods of Job text-1 were created: error looking up service account "nobody"' in waiting.status["message"]
    )
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Config")


@pytest.mark.parametrize("reason", ["Refused", "NameInUse"])
def test_an_attempt_whose_objects_cannot_be_created_tries_again_and_its_status_stays_the_same(reason):
    """Else each pass would write that it creates them, and then that it cannot."""
    job = training_job(begun(reason=reason, message="why"))

    planned = look(job, NOTHING)

    assert JOBS in kinds(planned)
    assert (planned.status["reason"], planned.status["message"]) == (reason, "why")


def test_an_attempt_that_is_suspended_before_its_job_was_made_makes_none():
    planned = look(training_job(begun(), suspend=True), NOTHING)

    assert (planned.creates, planned.status["state"]) == ((), "Suspended")


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


def trains_with(status, **metrics):
    live = Live("Training", Progress(45.7, 1320, 5, 10, 450, 1000), metrics, None, None, None, {})
    return look(training_job(status), Observed((batch_job(),), (pod(0), pod(1)), None, live))


def test_a_loss_that_is_no_number_any_more_is_told_at_once_and_once():
    first = trains_with(under_way(), loss=float("nan"), accuracy=0.25, my_ratio=float("nan"))
    again = trains_with(first.status, loss=float("nan"), accuracy=0.25)
    better = trains_with(again.status, loss=0.5)

    assert first.status["metrics"]["loss"] == "NaN"
    assert first.status["columns"]["metric"] == "accuracy=0.25"
    [diverged] = [c for c in first.status["conditions"] if c["type"] == "Diverged"]
    assert (diverged["status"], diverged["reason"]) == ("True", "LossNotFinite")
    assert diverged["message"].startswith("loss is NaN: the training has diverged; try a smaller learning rate")
    assert [event.reason for event in first.events if event.reason == "Diverged"] == ["Diverged"]
    assert [event.reason for event in again.events if event.reason == "Diverged"] == []
    assert [c["status"] for c in better.status["conditions"] if c["type"] == "Diverged"] == ["False"]


def test_a_training_that_never_diverged_has_no_such_condition():
    assert "Diverged" not in [c["type"] for c in trains_with(under_way(), loss=0.5).status["conditions"]]


@pytest.mark.parametrize(("fit", "shown"), [(0, "100%"), (12, "100% of fit 13")])
def test_progress_is_said_for_the_fit_that_it_is_of(fit, shown):
    live = Live("Training", Progress(100.0, 0, 1, 1, 8, 8, fit=fit), {}, None, None, None, {})

    status = look(training_job(under_way()), Observed((batch_job(),), (pod(0), pod(1)), None, live)).status

    assert (status["columns"]["progress"], status["progress"]["fit"]) == (shown, fit + 1)


@pytest.mark.parametrize(
    ("conditions", "reason", "word"),
    [
        ({"tracking": "Buffering", "storage": "Ok"}, "TrackingUnavailable", "MLflow server"),
        ({"tracking": "RunDeleted", "storage": "Ok"}, "RunDeleted", "restore the run in MLflow"),
        ({"tracking": "Ok", "storage": "Buffering"}, "StorageUnavailable", "s3.endpoint"),
    ],
)
def test_an_outage_that_the_launcher_meets_is_told_with_reason_and_hint(conditions, reason, word):
    live = Live("Training", Progress(45.7, 1320, 5, 10, 450, 1000), {}, None, None, None, conditions)

    status = look(training_job(under_way()), Observed((batch_job(),), (pod(0), pod(1)), None, live)).status

    assert (status["state"], status["reason"]) == ("Running", reason)
    assert word in status["message"]


@pytest.mark.parametrize(
    ("reason", "message"), [("Training", "the training is running"), ("StorageUnavailable", "S3 does not answer")]
)
def test_an_answer_that_was_lost_changes_nothing_of_what_is_told(reason, message):
    told = under_way(reason=reason, message=message, progress={"percent": 45})

    status = look(training_job(told), Observed((batch_job(),), (pod(0), pod(1)), None, live=None)).status

    assert (status["state"], status["reason"], status["message"]) == ("Running", reason, message)
    assert status["columns"]["progress"] == "45%"


def test_a_pod_whose_node_never_says_that_it_ended_does_not_hold_the_job_up_for_ever():
    silent = pod(0, deleted_at=NOW)
    observed = Observed((batch_job(),), (silent,), None)

    early = look(training_job(under_way(), workers=1), observed, now=NOW + 40 * SECOND)
    late = look(training_job(under_way(), workers=1), observed, now=NOW + 50 * SECOND)
    gone = look(training_job(late.status, workers=1), Observed((), (silent,), None), now=NOW + 51 * SECOND)

    assert (early.status["reason"], early.deletes) == ("Ending", ())
    assert [(delete.resource, delete.name) for delete in late.deletes] == [(JOBS, "text-1")]
    assert (gone.status["state"], gone.status["failure"]["reason"]) == ("Restarting", "NodeLost")
    assert gone.status["attemptsCounted"] == 0


def test_a_launcher_that_never_answered_is_preparing():
    starting = under_way(state="Starting", reason="CreatingContainers")

    status = look(training_job(starting), Observed((batch_job(),), (pod(0), pod(1)), None)).status

    assert (status["state"], status["reason"]) == ("Running", "Preparing")


def test_a_chief_that_ended_before_its_job_did_does_not_look_as_if_it_were_starting():
    done = pod(0, "Running", exit_code=0, message=record("Succeeded", NOW))
    observed = Observed((batch_job(),), (done, pod(1)), None)

    status = look(training_job(under_way()), observed).status

    assert (status["state"], status["reason"]) == ("Running", "Ending")


def test_pods_that_no_node_fits_queue_and_fail_at_the_start_deadline():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1: Insufficient nvidia.com/gpu"),))
    observed = Observed((batch_job(),), (stuck,), None)

    waiting = look(training_job(under_way(), startDeadlineSeconds=600), observed)
    too_late = look(training_job(under_way(), startDeadlineSeconds=600), observed, now=NOW + timedelta(seconds=601))

    assert (waiting.status["state"], waiting.status["reason"]) == ("Queued", "Unschedulable")
    assert "nvidia.com/gpu" in waiting.status["message"]
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Scheduling")
    assert [delete.name for delete in too_late.deletes] == ["text-1"]


def test_without_a_start_deadline_a_job_waits_for_room_as_long_as_it_takes():
    stuck = pod(0, "Pending", node="", conditions=(unschedulable("0/1: Insufficient nvidia.com/gpu"),))

    planned = look(training_job(under_way()), Observed((batch_job(),), (stuck,), None), now=NOW + timedelta(days=30))

    assert (planned.status["state"], planned.status["reason"]) == ("Queued", "Unschedulable")
    assert "Insufficient nvidia.com/gpu; the TrainingJob waits without a time limit" in planned.status["message"]
    assert planned.requeue_after == POLL_RUNNING


@pytest.mark.parametrize("words", ["exceeded quota: gpus, requested: 1, used: 8, limited: 8"])
def test_without_a_start_deadline_a_job_waits_for_its_quota_as_long_as_it_takes(words):
    month = NOW + timedelta(days=30)
    refusal = Refused(Forbidden(f"POST of Job: 403 Forbidden: {words}", status=403))
    observed = Observed((batch_job(startTime=stamp(NOW)),), (pod(0),), None, refusal=f"pods are forbidden: {words}")

    refused = after_refusal(training_job(begun()), refusal, month, SETTINGS)
    unmade = look(training_job(under_way()), observed, now=month)

    assert (refused.status["state"], refused.status["reason"]) == ("Pending", "Refused")
    assert (unmade.status["state"], unmade.status["reason"]) == ("Starting", "PodsRefused")


def test_without_a_start_deadline_what_is_wrong_ends_a_job_in_ten_minutes():
    observed = Observed((batch_job(),), (pod(0, "Pending", waiting=("ImagePullBackOff", "not found")),), None)

    early = look(training_job(under_way()), observed, now=NOW + 599 * SECOND)
    too_late = look(training_job(under_way()), observed, now=NOW + 601 * SECOND)

    assert (early.status["state"], early.status["reason"]) == ("Starting", "ImagePull")
    assert (too_late.status["state"], too_late.status["failure"]["class"]) == ("Failed", "Image")


def test_workers_wait_for_the_names_of_peers_for_which_there_is_no_room_yet():
    def waits(**spec):
        return launcher_config(training_job(**spec), AttemptContext(1, "image"), SETTINGS).workers.name_deadline

    assert (waits(startDeadlineSeconds=600), waits()) == (660, 86460)


def test_what_pods_wait_for_is_an_event_once():
    observed = Observed((batch_job(),), (pod(0, "Pending", waiting=("ImagePullBackOff", "not found")),), None)

    first = look(training_job(under_way()), observed)
    second = look(training_job(first.status), observed, now=NOW + 5 * SECOND)

    assert [event.reason for event in first.events] == ["ImagePull"]
    assert second.events == ()


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


@pytest.mark.parametrize(
    ("failure_class", "reason", "state"),
    [("Storage", "PackageIndexUnavailable", "Restarting"), ("Config", "PackagesNotInstalled", "Failed")],
)
def test_an_index_that_is_away_is_tried_again_and_what_the_resolver_refuses_is_not(failure_class, reason, state):
    said = record("Failed", NOW, **{"class": failure_class, "reason": reason, "message": "requirements.txt: no"})
    ended = pod(0, "Failed", exit_code=4, message=said)

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(conditions=FAILED),), (ended,), None))

    assert (planned.status["state"], planned.status["attemptsCounted"]) == (state, 0)


def test_packages_that_are_being_installed_are_what_the_job_says_it_waits_for():
    live = Live("Installing", Progress(), {}, None, None, None, {})

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(),), (pod(0),), None, live=live))

    assert (planned.status["state"], planned.status["reason"]) == ("Running", "InstallingPackages")
    assert "requirements.txt" in planned.status["message"]


def test_the_next_attempt_starts_when_its_time_has_come_and_not_before():
    first = look(training_job(under_way()), Observed((batch_job(conditions=FAILED),), failed_pods(), None)).status
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)

    early = look(training_job(first), observed, now=NOW + timedelta(seconds=2))
    due = look(training_job(first), observed, now=NOW + timedelta(seconds=6))

    assert early.creates == ()
    assert early.requeue_after == pytest.approx(3)
    assert due.status["attempt"]["number"] == 2
    assert [o["metadata"]["name"] for r, o in due.creates if r == JOBS] == ["text-2"]


def between_attempts():
    """Attempt 1 took 40 s and failed; the next may begin 5 s later."""
    first = under_way()
    first["attempt"]["activeSince"] = stamp(NOW - 40 * SECOND)
    return look(training_job(first), Observed((batch_job(conditions=FAILED),), failed_pods(), None)).status


FORBIDDEN = Start(problem=Problem(FailureClass.CONFIG, "TrackingForbidden", "not yours"))


def test_what_keeps_the_second_attempt_from_beginning_is_waited_for_from_when_it_could_have_begun():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)
    job = training_job(between_attempts() | {"startTime": stamp(NOW - timedelta(days=1))})

    just_in_time = look(job, observed, FORBIDDEN, NOW + 605 * SECOND)
    too_late = look(job, observed, FORBIDDEN, NOW + 606 * SECOND)

    assert (just_in_time.status["state"], just_in_time.status["reason"]) == ("Pending", "TrackingForbidden")
    assert too_late.status["state"] == "Failed"


def test_an_attempt_that_cannot_begin_leaves_the_history_of_those_that_ended():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)
    before = between_attempts()

    after = look(training_job(before), observed, FORBIDDEN, NOW + 606 * SECOND).status

    assert after["failure"]["reason"] == "TrackingForbidden"
    assert after["history"] == before["history"]
    assert after["attempt"] == before["attempt"]


def test_what_keeps_a_resumed_job_from_going_on_is_waited_for_from_when_it_was_resumed():
    suspended = look(training_job(between_attempts(), suspend=True), NOTHING, now=NOW + 10 * SECOND).status
    resumed_at = NOW + timedelta(hours=2)

    first = look(training_job(suspended), NOTHING, FORBIDDEN, resumed_at)
    later = look(training_job(first.status), NOTHING, FORBIDDEN, resumed_at + 599 * SECOND)
    too_late = look(training_job(first.status), NOTHING, FORBIDDEN, resumed_at + 601 * SECOND)

    assert [planned.status["state"] for planned in (first, later, too_late)] == ["Pending", "Pending", "Failed"]


def test_pods_of_an_attempt_that_ended_are_let_go_also_when_the_next_one_begins_at_once():
    observed = Observed((batch_job(conditions=FAILED),), failed_pods(), SOURCE)

    planned = look(training_job(between_attempts()), observed, now=NOW + 6 * SECOND)

    assert planned.status["attempt"]["number"] == 2
    assert {patch.resource for patch in planned.patches} == {PODS}


def test_an_attempt_counts_its_time_from_when_its_job_was_started():
    started = stamp(NOW - 40 * SECOND)

    status = look(training_job(under_way()), Observed((batch_job(startTime=started),), (pod(0), pod(1)), None)).status

    assert status["attempt"]["activeSince"] == started


def test_the_next_attempt_gets_what_the_attempts_before_it_left_of_the_deadline():
    job = training_job(between_attempts(), activeDeadlineSeconds=100)

    planned = look(job, NOTHING, now=NOW + 6 * SECOND)

    assert created(planned, JOBS)["spec"]["activeDeadlineSeconds"] == 60


def test_suspended_time_does_not_count_against_the_deadline():
    attempt = under_way()["attempt"] | {"activeSince": stamp(NOW - 40 * SECOND)}
    stopped = look(
        training_job(under_way(attempt=attempt), suspend=True, workers=1),
        Observed((), (pod(0, "Failed", exit_code=6, deleted_at=NOW),), None),
    ).status

    resumed = look(training_job(stopped, activeDeadlineSeconds=3600), NOTHING, now=NOW + timedelta(hours=2))

    assert stopped["activeSeconds"] == 40
    assert created(resumed, JOBS)["spec"]["activeDeadlineSeconds"] == 3560


def test_time_between_an_attempt_s_end_and_somebody_seeing_it_does_not_count_against_the_deadline():
    attempt = under_way()["attempt"] | {"activeSince": stamp(NOW - 40 * SECOND)}
    died = pod(
        0, "Failed", exit_code=1, message=record("Failed", NOW, **{"class": "UserCode", "reason": "ScriptRaised"})
    )
    failed = batch_job(conditions=(("Failed", "PodFailurePolicy"),))

    seen_late = look(
        training_job(under_way(attempt=attempt), workers=1), Observed((failed,), (died,), None), now=NOW + 3600 * SECOND
    ).status

    assert seen_late["state"] == "Restarting"
    assert seen_late["activeSeconds"] == 40
    assert seen_late["history"][0]["finishedAt"] == stamp(NOW)
    assert seen_late["nextAttemptAt"] > stamp(NOW + 3600 * SECOND)


def test_a_job_of_whose_deadline_nothing_is_left_ends_without_another_attempt():
    job = training_job(between_attempts(), activeDeadlineSeconds=40)

    planned = look(job, NOTHING, now=NOW + 6 * SECOND)

    assert planned.creates == ()
    assert planned.status["state"] == "Failed"
    assert planned.status["failure"]["class"] == "Deadline"
    assert [entry["attempt"] for entry in planned.status["history"]] == [1]


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


@pytest.mark.parametrize(("number", "is_told"), [(1, False), (2, True), (3, True)])
@pytest.mark.parametrize(("failure_class", "how"), [("UserCode", "failed"), ("Disrupted", "was disrupted")])
def test_a_restarted_attempt_says_why_the_one_before_ended(number, is_told, failure_class, how):
    failure = {"class": failure_class, "reason": "ScriptRaised", "message": "IndexError: 4", "attempt": number - 1}
    status = under_way(number, **({"failure": failure} if number > 1 else {}))
    live = Live("Training", Progress(), {}, None, None, None, {})

    message = look(
        training_job(status, workers=1), Observed((batch_job(f"text-{number}"),), (pod(0, attempt=number),), None, live)
    ).status["message"]

    told = f"; attempt {number - 1} {how}: ScriptRaised: IndexError: 4"
    assert message.endswith(told) == is_told


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


def test_an_end_with_exit_0_and_no_record_is_no_success():
    observed = Observed((batch_job(conditions=(("Complete", ""),)),), (pod(0, "Succeeded", exit_code=0),), None)

    planned = look(training_job(under_way(), workers=1), observed)

    assert (planned.status["state"], planned.status["reason"]) == ("Failed", "NoRecord")


def held_up(outcome="Succeeded", exit_code=0, **more):
    """Its trainer ended at NOW, its side container runs on."""
    said = record(outcome, NOW, **more)
    return pod(0, "Running", exit_code=exit_code, message=said, sides=(container("logs"),))


def test_a_side_container_that_goes_on_after_the_training_is_given_a_minute_and_named():
    planned = look(training_job(under_way(), workers=1), Observed((batch_job(),), (held_up(),), None))

    assert planned.deletes == ()
    assert "'logs'" in planned.status["message"]
    assert "restartPolicy Always" in planned.status["message"]


@pytest.mark.parametrize("training", [held_up(), held_up("Failed", 1, **RAISED)])
def test_then_the_attempts_job_is_deleted(training):
    observed = Observed((batch_job(),), (training,), None)

    planned = look(training_job(under_way(), workers=1), observed, now=NOW + 61 * SECOND)

    assert [delete.name for delete in planned.deletes] == ["text-1"]
    assert [event.reason for event in planned.events] == ["SideContainerStopped"]
    assert planned.status["reason"] == "Ending"


def test_a_worker_that_still_trains_is_not_stopped_for_another_ones_side_container():
    observed = Observed((batch_job(),), (held_up(), pod(1)), None)

    assert look(training_job(under_way()), observed, now=NOW + 61 * SECOND).deletes == ()


STOPPED = {"sides": (container("logs", ended(143, NOW + 75 * SECOND)),), "deleted_at": NOW + 95 * SECOND}


@pytest.mark.parametrize("suspend", [False, True])
def test_a_job_that_went_after_all_trained_to_the_end_succeeds(suspend):
    done = pod(0, "Failed", exit_code=0, message=record("Succeeded", NOW, metrics={"loss": 0.5}), **STOPPED)
    job = training_job(under_way(), workers=1, suspend=suspend)

    planned = look(job, Observed((), (done,), None), now=NOW + 80 * SECOND)

    assert (planned.status["state"], planned.status["metrics"]) == ("Succeeded", {"loss": "0.5"})


def test_a_job_that_went_after_its_script_raised_fails_for_that():
    raised = pod(0, "Failed", exit_code=1, message=record("Failed", NOW, **RAISED), **STOPPED)

    planned = look(training_job(under_way(), workers=1), Observed((), (raised,), None), now=NOW + 80 * SECOND)

    assert (planned.status["state"], planned.status["failure"]["reason"]) == ("Restarting", "ScriptRaised")


def test_a_failure_of_a_side_container_counts_and_is_told_by_its_name():
    failing = pod(0, "Failed", inits=(container("warm-up", ended(1)),))
    observed = Observed((batch_job(conditions=FAILED),), (failing,), None)

    status = look(training_job(under_way(), workers=1), observed).status

    assert (status["state"], status["attemptsCounted"]) == ("Restarting", 1)
    assert (status["failure"]["container"], status["failure"]["exitCode"]) == ("warm-up", 1)


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


WITH_OUTPUT = {"output": {"model": "text"}, "tracking": {"experiment": "x"}}
CANNOT = {"protocol": 1, "state": "Training", "exportTrial": {"failed": ["ONNX"], "message": "ONNX cannot be made: x"}}


def test_a_trial_of_the_export_that_failed_is_told_while_the_job_trains_and_once_as_an_event():
    observed = Observed((batch_job(),), (pod(0),), None, live=read_live(CANNOT))

    first = look(training_job(under_way(), workers=1, **WITH_OUTPUT), observed)
    again = look(training_job(first.status, workers=1, **WITH_OUTPUT), observed)
    silent = look(training_job(first.status, workers=1, **WITH_OUTPUT), replace(observed, live=None))

    assert [(event.type.value, event.reason) for event in first.events] == [("Warning", "ExportTrialFailed")]
    assert again.events == ()
    for status in (first.status, again.status, silent.status):
        assert status["state"] == "Running"
        [condition] = [c for c in status["conditions"] if c["type"] == "Exportable"]
        assert (condition["status"], condition["message"]) == ("False", "ONNX cannot be made: x")


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


def test_a_finished_job_is_deleted_when_its_time_to_live_is_over():
    status = {"state": "Succeeded", "completionTime": stamp(NOW)}
    job = training_job(status, ttlSecondsAfterFinished=60)

    waits = look(job, Observed((), (), None), now=NOW + timedelta(seconds=20))
    goes = look(job, Observed((), (), None), now=NOW + timedelta(seconds=60))

    assert waits.deletes == ()
    assert waits.requeue_after == pytest.approx(40)
    assert [(d.resource, d.uid) for d in goes.deletes] == [(TRAININGJOBS, UID)]
