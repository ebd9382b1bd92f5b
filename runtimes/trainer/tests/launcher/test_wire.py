"""What the launcher reads and writes between itself and the operator: the same documents that the operator's tests
have, and those of earlier releases.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

import wire_examples
from headrace_common.protocol.parts import DatasetReference, EvaluationReference
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import Condition, Outcome, State
from headrace_common.record import encode
from headrace_trainer.launcher.environment import command
from headrace_trainer.launcher.failures.judge import Failed, Failure, bad_config
from headrace_trainer.launcher.frameworks import framework_of
from headrace_trainer.launcher.instructions import read_instructions
from headrace_trainer.launcher.messages import ExportTrial, Fit, Resume, Step
from headrace_trainer.launcher.model.upload import Model
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.store.checkpoints import Stored
from headrace_trainer.launcher.tracking.mlflow import Run

RUN = Run("abc", "3", "s3://team-a/artifacts", 1764000000000, {}, {}, "RUNNING", False)
CHECKPOINT = Stored("s3://team-a/headrace/checkpoints/6f1c/attempt-2/ckpt-000120", 2, 0, 2, 120, 1764000000123)
RESUME = (1, Resume(0, 1, 35, True, "exact"))
MODEL = Model("s3://team-a/3/abc/artifacts/model/attempt-1", "sha256:" + "a" * 64, ("TensorFlow",))
DIGEST = "9c1e" + "0" * 60
PREPARED = DatasetReference(
    "corpus", f"s3://team-a/headrace/datasets/corpus/{DIGEST}/", f"sha256:{DIGEST}", 3, 1048576, "team-a/text", False
)
CHILD = replace(RUN, id="def")


def trained(worker: int = 0, **known) -> Report:
    """In the middle of the second epoch of three."""
    report = Report(worker, state=State.TRAINING, time=1764000000000, **known)
    report.progress.begin(Fit(fit=0, epochs=3, steps_per_epoch=100))
    for step, time in ((101, 0), (120, 500)):
        report.progress.advance(Step(fit=0, epoch=1, step=step, time=time, metrics={}))
    report.metrics.latest |= {"loss": 6.123456789012, "val_loss": math.nan}
    return report


def ended(report: Report, outcome: Outcome, failure: Failure | None = None) -> Report:
    report.conclude(outcome, failure)
    report.time = 1764000000123
    return report


FAILED = Failure(Reason.SCRIPT_RAISED, "ValueError: shapes (3,) and (4,)", "Look at the shapes.")
LOST = Failure(Reason.PEER_LOST, "the connection to worker 1 was lost", "", lost_peer=1)
PROGRESS = {
    "progress-preparing": lambda: Report(0),
    "progress-training": lambda: trained(
        run=RUN,
        checkpoint=CHECKPOINT,
        resume=RESUME,
        export_trial=ExportTrial("model", 1.5, ("TensorFlow",), {"ONNX": "no operator for it"}),
        tracking=Condition.BUFFERING,
        storage_is_buffering=True,
    ),
    "progress-prepared": lambda: Report(0, state=State.FINISHED, run=CHILD, dataset=PREPARED),
}
RECORDS = {
    "record-running": lambda: trained(run=RUN),
    "record-succeeded": lambda: ended(
        trained(run=RUN, checkpoint=CHECKPOINT, model=MODEL, model_note="ONNX cannot be made of this model: x"),
        Outcome.SUCCEEDED,
    ),
    "record-ambiguous": lambda: ended(
        Report(0, ambiguity="2 models could be meant: 1. encoder, 2. decoder"), Outcome.SUCCEEDED
    ),
    "record-prepared": lambda: ended(Report(0, run=CHILD, dataset=PREPARED), Outcome.SUCCEEDED),
    "record-reused": lambda: ended(
        Report(0, run=CHILD, dataset=replace(PREPARED, made_by="team-a/earlier", reused=True)), Outcome.SUCCEEDED
    ),
    "record-raised": lambda: ended(trained(resume=RESUME, log_tail="Traceback\n"), Outcome.FAILED, FAILED),
    "record-peer-lost": lambda: ended(trained(worker=1), Outcome.FAILED, LOST),
    "record-bad-config": lambda: ended(Report(0), Outcome.FAILED, bad_config("HEADRACE_CONFIG is not JSON")),
    "record-terminated": lambda: ended(
        trained(resume=(1, Resume(0, 1, 35, None, "")), log_tail="step 120\n"),
        Outcome.INTERRUPTED,
        Failure(Reason.TERMINATED, "SIGTERM"),
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_is_what_operators_of_earlier_releases_read(name):
    assert encode(RECORDS[name]().as_record()).decode() == wire_examples.text(name)


def test_what_was_warned_of_is_in_the_record_of_a_dataset_alone():
    warnings = {"privacy": "notes: IBAN (2 rows)", "split": "1 rows of test"}
    made = ended(Report(0, dataset=PREPARED, warnings=warnings), Outcome.SUCCEEDED).as_record()
    assert made["message"] == "privacy: notes: IBAN (2 rows); split: 1 rows of test"
    assert "message" not in ended(Report(0, warnings=warnings), Outcome.SUCCEEDED).as_record()


def test_what_was_not_explained_is_in_the_record_of_an_evaluation_and_nothing_else_that_was_warned_of():
    said = "the time of 90 s was over: 8 of 10 rows are explained"
    warnings = {"evaluation": "No row is of region=north.", "explanations": said}
    judged = EvaluationReference("sha256:5d41" + "0" * 60, "sha256:7d79" + "0" * 60, 1200, explained=8)

    report = ended(Report(0, run=CHILD, evaluation=judged, warnings=warnings), Outcome.SUCCEEDED)
    report.metrics.latest |= {"accuracy": 0.93}

    assert encode(report.as_record()).decode() == wire_examples.text("record-explained")


@pytest.mark.parametrize("name", PROGRESS)
def test_the_answer_of_progress_is_what_operators_of_earlier_releases_read(name):
    assert json.dumps(PROGRESS[name]().as_progress(), separators=(",", ":")) == wire_examples.text(name)


@pytest.mark.parametrize(
    ("name", "started"),
    [
        ("config-alone", ["/headrace/source/train.py"]),
        (
            "config-gang",
            [
                "/headrace/source/train.py",
                "--epochs=10",
                "--learning_rate=0.001",
                "--note=für $(HOME)",
                "--shuffle=true",
            ],
        ),
        ("config-program", ["/headrace/source/train.sh"]),
        ("config-prepare", ["/headrace/source/prepare.py", "--vocabulary=10000"]),
        ("config-prepared", ["/headrace/source/train.py", "--epochs=10"]),
    ],
)
def test_what_operators_of_earlier_releases_wrote_starts_the_script(name, started):
    config = read_instructions(wire_examples.text(name))
    assert command(config, framework_of(config).adapter)[-len(started) :] == started


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"gpus": -1}, "This is no fault of the script"),
        ({"protocol": 9}, "Use the trainer image that belongs to the operator's release."),
        ({"storage": None}, "Correct the TrainingJob's spec."),
    ],
    ids=["a field", "another protocol", "what is not there"],
)
def test_instructions_that_cannot_be_followed_are_the_failure_with_what_to_do(change, hint):
    with pytest.raises(Failed) as caught:
        read_instructions(json.dumps(json.loads(wire_examples.text("config-gang")) | change))
    assert caught.value.failure.reason is Reason.BAD_CONFIG
    assert caught.value.failure.hint.startswith(hint)
