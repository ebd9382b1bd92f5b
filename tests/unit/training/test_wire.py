"""What the operator and launchers tell one another: the words that those of earlier releases write and read, and
whatever a spec asks for, nothing that a launcher would not understand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire_examples
from headrace.api.common import FailureClass
from headrace.api.trainingjob import Stage, TrainingJobStatus
from headrace.training.job import AttemptContext, launcher_config, render_job
from headrace.training.record import parse_record, read_live
from headrace.training.reports import STATE_REASONS
from headrace.training.stages import part_of, told_to_launchers
from headrace.training.states import Reason, rule_for
from headrace.training.status import take_live
from headrace_common.protocol import reasons as told
from headrace_common.protocol.config import parse_config
from headrace_common.protocol.fields import CannotBeDone
from training_builders import DECLARED, MADE, PREPARE, SETTINGS, SPARK, training_job

OUTSIDE = {
    "datasets": [{"name": "corpus", "uri": "s3://team-a/corpus.txt"}, {"name": "images", "uri": "s3://team-a/images/"}],
    "tracking": {"experiment": "text-generation"},
    "output": {"model": "text", "formats": ["TensorFlow", "ONNX"]},
    "checkpoint": {"interval": "5m", "keep": 2},
}
STAGED: dict[str, Any] = {
    "tracking": {"experiment": "text-generation"},
    "datasets": [{"name": "images", "uri": "s3://team-a/images/"}],
    "parameters": {"epochs": 10},
    "output": {"model": "text", "formats": ["ONNX"]},
    "prepare": PREPARE,
}
JUDGED: dict[str, Any] = {
    "stage": "Evaluate",
    "dataset": MADE,
    "model": {"uri": "s3://team-a/mlflow/3/abc/artifacts/model/attempt-2", "digest": "sha256:5d41" + "0" * 60},
    "run": {"id": "abc", "experimentID": "3"},
}
COMPARED = JUDGED | {
    "evaluation": {
        "format": "ONNX",
        "baseline": {
            "alias": "champion",
            "version": "6",
            "digest": "sha256:7d79" + "0" * 60,
            "uri": "s3://team-a/mlflow/3/aaa/artifacts/model/attempt-1",
        },
    }
}
EVALUATE = {
    "task": "Classification",
    "data": {
        "dataset": "corpus",
        "path": "test.parquet",
        "label": "species",
        "inputs": {"flower": ["sepal", "petal"]},
    },
    "slices": ["region"],
    "sensitive": ["sex"],
    "baseline": {"alias": "champion"},
    "gates": [{"metric": "accuracy", "slice": "region=north", "maxRegression": "0.02"}],
    "card": {"intendedUse": "to tell irises apart", "limits": "no other flowers", "licence": "CC-BY-4.0"},
}
BEST = {"name": "text-t3", "uid": "u3", "number": 3, "value": "0.9", "run": "abd"}
TUNED = {"tuning": {"trials": {"total": 4, "running": 0, "succeeded": 4, "failed": 0}, "best": BEST}}
EXPLAIN = {
    "method": "Shapley",
    "samples": 10,
    "target": "setosa",
    "background": 40,
    "budget": 256,
    "values": False,
    "deadline": "1m30s",
}
TUNING = {
    "objective": {"metric": "val_accuracy", "goal": "Maximize"},
    "space": [
        {"name": "rate", "type": "Float", "min": "0.0001", "max": "0.1", "log": True},
        {"name": "units", "type": "Int", "min": "8", "max": "64", "step": "8"},
        {"name": "kind", "type": "Categorical", "values": ["relu", "tanh"]},
    ],
    "seed": 7,
    "maxTrials": 20,
    "parallel": 4,
    "pruner": {"type": "Median", "startupTrials": 5, "warmupSteps": 2},
}
JOBS = {
    "config-evaluate": (
        training_job(COMPARED, workers=1, evaluate=EVALUATE, **STAGED),
        AttemptContext(3, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-evaluate-explain": (
        training_job(COMPARED | TUNED, workers=1, evaluate=EVALUATE | {"explain": EXPLAIN}, **STAGED),
        AttemptContext(3, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-held-out": (
        training_job(
            workers=1,
            evaluate=EVALUATE | {"datasets": [{"name": "corpus", "uri": "s3://team-a/heldout/"}]},
            **STAGED | {"prepare": None},
        ),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-evaluate-script": (
        training_job(
            JUDGED,
            workers=1,
            evaluate={"task": "Script", "entrypoint": "evaluate.py", "parameters": {"rows": 100}},
            **STAGED,
        ),
        AttemptContext(3, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-tune": (
        training_job(
            workers=1,
            tuning=TUNING,
            **STAGED | {"parameters": {"epochs": 10, "rate": 0.01}, "prepare": None},
        ),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-prepare": (
        training_job(workers=1, **STAGED),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-prepared": (
        training_job({"stage": "Train", "dataset": MADE}, workers=1, **STAGED),
        AttemptContext(2, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-tables": (
        training_job(workers=1, **STAGED | {"prepare": DECLARED}),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-spark": (
        training_job(workers=1, **STAGED | {"prepare": SPARK}),
        AttemptContext(1, "spark:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-gang": (
        training_job(
            workers=2,
            parameters={"epochs": 10, "learning_rate": 0.001, "shuffle": True, "note": "für $(HOME)"},
            startDeadlineSeconds=600,
            **OUTSIDE,
        ),
        AttemptContext(2, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-alone": (
        training_job(workers=1),
        AttemptContext(1, "trainer:1"),
        replace(SETTINGS, storage=None, tracking=None),
    ),
    "config-program": (
        training_job(
            framework="Script",
            strategy={"type": "MultiWorker", "workers": 3},
            entrypoint="train.sh",
            resources={"limits": {"nvidia.com/gpu": 2}},
            **OUTSIDE | {"checkpoint": {"resume": "Fast", "interval": "90s"}},
        ),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
    "config-private": (
        training_job(**OUTSIDE | {"output": {"model": "text", "formats": ["ONNX"], "inputExample": "None"}}),
        AttemptContext(1, "trainer:1", experiment_id="3", bucket="team-a"),
        SETTINGS,
    ),
}


def written(job, context, settings):
    """As the kubelet gives it to the container."""
    [container] = render_job(part_of(job), context, settings)["spec"]["template"]["spec"]["containers"]
    [value] = [one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG"]
    return value.replace("$$", "$")


@pytest.mark.parametrize("name", JOBS)
def test_what_is_written_is_what_launchers_of_earlier_releases_read(name):
    assert written(*JOBS[name]) == wire_examples.text(name)


STRATEGIES = [
    ("Keras", {"type": "SingleWorker"}),
    ("Keras", {"type": "Mirrored"}),
    ("Keras", {"type": "MultiWorkerMirrored", "workers": 3}),
    ("Script", {"type": "SingleWorker"}),
    ("Script", {"type": "MultiWorker", "workers": 2}),
]
PARAMETERS = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@st.composite
def rendered(draw):
    """What `launcher_config` takes, and whether there is what the spec asks for."""
    framework, strategy = draw(st.sampled_from(STRATEGIES))
    spec = {"framework": framework, "strategy": strategy}
    spec |= draw(st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in OUTSIDE.items()}))
    spec |= draw(
        st.fixed_dictionaries(
            {"parameters": st.dictionaries(st.text(min_size=1, max_size=9), PARAMETERS, max_size=4)},
            optional={
                "startDeadlineSeconds": st.integers(1, 10**6),
                "resources": st.integers(0, 8).map(lambda count: {"limits": {"nvidia.com/gpu": count}}),
                "checkpoint": st.fixed_dictionaries(
                    {},
                    optional={
                        "interval": st.sampled_from(["10s", "1h30m", "500ms"]),
                        "keep": st.integers(1, 10),
                        "resume": st.sampled_from(["Exact", "Fast"]),
                        "maxReplay": st.sampled_from(["0s", "90s"]),
                    },
                ),
            },
        )
    )
    has_storage, has_tracking = draw(st.booleans()), draw(st.booleans())
    settings = replace(
        SETTINGS,
        storage=SETTINGS.storage if has_storage else None,
        tracking=SETTINGS.tracking if has_tracking else None,
    )
    context = AttemptContext(
        draw(st.integers(1, 99)),
        "trainer:1",
        experiment_id="3" if has_tracking else "",
        bucket="team-a" if has_storage else "",
    )
    tracked = has_tracking and "tracking" in spec
    lacks = ("output" in spec and not (has_storage and tracked)) or ("datasets" in spec and not has_storage)
    return (training_job(**spec), context, settings), lacks


@given(rendered())
def test_whatever_the_operator_writes_the_launcher_understands(given_rendered):
    arguments, lacks = given_rendered
    if lacks:  # the attempt then fails with these words
        with pytest.raises(CannotBeDone):
            parse_config(written(*arguments))
    else:
        job, context, settings = arguments
        assert parse_config(written(*arguments)) == launcher_config(part_of(job), context, settings)


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_its_name_in_the_protocol(stage):
    assert told_to_launchers(stage).casefold() == stage.casefold()


def read(name):
    record = parse_record(wire_examples.text(name))
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("name", "outcome", "failure_class", "reason", "lost"),
    [
        ("record-running", "Running", "", "", False),
        ("record-succeeded", "Succeeded", "", "", False),
        ("record-ambiguous", "Succeeded", "", Reason.AMBIGUOUS_MODEL, False),
        ("record-prepared", "Succeeded", "", "", False),
        ("record-reused", "Succeeded", "", "", False),
        ("record-evaluated", "Succeeded", "", "", False),
        ("record-explained", "Succeeded", "", "", False),
        ("record-raised", "Failed", "UserCode", "ScriptRaised", False),
        ("record-bad-config", "Failed", "Config", "BadConfig", False),
        ("record-peer-lost", "Failed", "Peer", "PeerLost", True),
        ("record-terminated", "Interrupted", "Disrupted", "Terminated", False),
    ],
)
def test_how_an_attempt_ended_is_read_from_the_launchers_words(name, outcome, failure_class, reason, lost):
    record = read(name)
    assert (record.outcome, record.failure_class, record.reason) == (outcome, failure_class, reason)
    assert (record.lost_peer is not None) == lost


def test_what_the_launcher_answers_while_it_trains_becomes_status():
    live = read_live(json.loads(wire_examples.text("progress-training")))
    assert live is not None
    status = take_live(TrainingJobStatus(), live)
    assert status.progress is not None
    assert status.checkpoint is not None
    assert status.resume is not None
    assert (status.progress.percent, status.progress.fit, status.progress.eta_seconds) == (40, 1, 5)
    assert (status.checkpoint.step, status.resume.exact, status.metrics["val_loss"]) == (120, True, "NaN")


def test_executors_that_are_there_and_were_become_status():
    told = {
        **json.loads(wire_examples.text("progress-preparing")),
        "step": 1,
        "steps": 3,
        "executors": 2,
        "executorsLost": 1,
    }
    live = read_live(told)
    assert live is not None
    progress = take_live(TrainingJobStatus(), live).progress
    assert progress is not None
    assert (progress.step, progress.steps, progress.executors, progress.executors_lost) == (1, 3, 2, 1)


@pytest.mark.parametrize(("name", "made_by"), [("record-prepared", "team-a/text"), ("record-reused", "team-a/earlier")])
def test_what_a_stage_of_preparation_has_made_is_read(name, made_by):
    told = read(name)
    expected = MADE | {"madeBy": made_by, "reused": name == "record-reused"}
    assert told.dataset is not None
    assert told.dataset.as_json() == expected
    assert told.model is None


def test_what_a_stage_of_evaluation_has_judged_is_read():
    told = read("record-evaluated").evaluation
    assert told is not None
    assert (told.digest[:11], told.baseline_digest[:11], told.samples) == ("sha256:5d41", "sha256:7d79", 1200)


def test_a_launcher_that_is_preparing_is_read():
    live = read_live(json.loads(wire_examples.text("progress-preparing")))
    assert live is not None
    assert (STATE_REASONS[live.state], live.metrics) == (Reason.PREPARING, {})


@pytest.mark.parametrize("reason", told.Reason)
def test_the_operator_has_a_rule_for_whatever_a_launcher_may_end_with(reason):
    failure_class, exit_code = told.RULES[reason]
    rule = rule_for(FailureClass(failure_class), reason)
    assert not (exit_code == 2 and rule.retryable)
