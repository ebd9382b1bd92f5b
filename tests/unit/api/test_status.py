"""Writing a status: JSON names, and nothing that the API server would refuse for its size."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api.crd import root_schema
from headrace.api.status import to_status_dict
from headrace.api.trainingjob import (
    AttemptOutcome,
    AttemptRecord,
    Columns,
    Failure,
    FailureClass,
    Progress,
    State,
    TrainingJob,
    TrainingJobStatus,
)

BOUNDS = root_schema(TrainingJob)["properties"]["status"]["properties"]


def test_a_status_is_written_with_json_names_and_without_what_is_absent():
    failure = Failure(class_=FailureClass.OOM, reason="OutOfMemory", exit_code=137)
    written = to_status_dict(TrainingJobStatus(state=State.FAILED, failure=failure, columns=Columns(try_="1/4")))
    assert written["failure"] == {
        "class": "OOM",
        "reason": "OutOfMemory",
        "exitCode": 137,
        "message": "",
        "retryable": False,
    }
    assert written["columns"]["try"] == "1/4"
    assert written.keys() == {"state", "attemptsCounted", "failure", "columns"}


def test_a_text_that_is_too_long_is_cut_and_says_so():
    limit = BOUNDS["failure"]["properties"]["logTail"]["maxLength"]
    failure = Failure(class_=FailureClass.USER_CODE, reason="ScriptRaised", log_tail="é" * (limit + 1))
    assert to_status_dict(TrainingJobStatus(failure=failure))["failure"]["logTail"] == "é" * (limit - 1) + "…"


def test_a_text_that_fits_stays_as_it_is():
    limit = BOUNDS["message"]["maxLength"]
    assert to_status_dict(TrainingJobStatus(message="x" * limit))["message"] == "x" * limit


def test_a_status_changed_without_validation_is_cut_too():
    status = TrainingJobStatus().model_copy(update={"message": "x" * 100_000})
    assert len(to_status_dict(status)["message"]) == BOUNDS["message"]["maxLength"]


def test_more_metrics_than_there_is_room_for_are_left_out():
    limit = BOUNDS["metrics"]["maxProperties"]
    metrics = {f"metric_{number:03}": "0.5" for number in range(limit + 10)}
    assert list(to_status_dict(TrainingJobStatus(metrics=metrics))["metrics"]) == list(metrics)[:limit]


def test_of_a_long_history_the_newest_attempts_are_kept():
    limit = BOUNDS["history"]["maxItems"]
    history = tuple(AttemptRecord(attempt=number, outcome=AttemptOutcome.FAILED) for number in range(1, limit + 6))
    written = to_status_dict(TrainingJobStatus(history=history))["history"]
    assert [entry["attempt"] for entry in written] == list(range(6, limit + 6))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=st.text(min_size=1, max_size=5).map(lambda text: text * 2000), percent=st.none() | st.integers(0, 100))
def test_writing_what_was_read_changes_nothing(message, percent):
    written = to_status_dict(TrainingJobStatus(message=message, progress=Progress(percent=percent)))
    assert to_status_dict(TrainingJobStatus.model_validate(written)) == written
