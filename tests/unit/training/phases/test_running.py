"""What an attempt under way tells, from its first pod to the end of its chief."""

from dataclasses import replace

import pytest

from headrace.training.observed import Observed
from headrace.training.record import read_live
from headrace_common.protocol.parts import Progress
from headrace_common.protocol.report import Live
from training_builders import (
    NOW,
    batch_job,
    pod,
    record,
    stamp,
    training_job,
)
from training_looks import CANNOT, SECOND, WITH_OUTPUT, held_up, look, under_way


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


@pytest.mark.parametrize(("step", "shown"), [(4600, "step 4600"), (0, "-")])
def test_of_a_loop_without_a_known_end_the_step_is_shown(step, shown):
    live = Live("Training", Progress(None, None, 1, None, step, None, fit=0), {}, None, None, None, {})

    status = look(training_job(under_way()), Observed((batch_job(),), (pod(0), pod(1)), None, live)).status

    assert status["columns"]["progress"] == shown


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


def test_a_launcher_that_never_answered_is_preparing():
    starting = under_way(state="Starting", reason="CreatingContainers")

    status = look(training_job(starting), Observed((batch_job(),), (pod(0), pod(1)), None)).status

    assert (status["state"], status["reason"]) == ("Running", "Preparing")


def test_a_chief_that_ended_before_its_job_did_does_not_look_as_if_it_were_starting():
    done = pod(0, "Running", exit_code=0, message=record("Succeeded", NOW))
    observed = Observed((batch_job(),), (done, pod(1)), None)

    status = look(training_job(under_way()), observed).status

    assert (status["state"], status["reason"]) == ("Running", "Ending")


def test_packages_that_are_being_installed_are_what_the_job_says_it_waits_for():
    live = Live("Installing", Progress(), {}, None, None, None, {})

    planned = look(training_job(under_way(), workers=1), Observed((batch_job(),), (pod(0),), None, live=live))

    assert (planned.status["state"], planned.status["reason"]) == ("Running", "InstallingPackages")
    assert "requirements.txt" in planned.status["message"]


def test_an_attempt_counts_its_time_from_when_its_job_was_started():
    started = stamp(NOW - 40 * SECOND)

    status = look(training_job(under_way()), Observed((batch_job(startTime=started),), (pod(0), pod(1)), None)).status

    assert status["attempt"]["activeSince"] == started


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


def test_a_side_container_that_goes_on_after_the_training_is_given_a_minute_and_named():
    planned = look(training_job(under_way(), workers=1), Observed((batch_job(),), (held_up(),), None))

    assert planned.deletes == ()
    assert "'logs'" in planned.status["message"]
    assert "restartPolicy Always" in planned.status["message"]


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
