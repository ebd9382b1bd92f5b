"""What is declared of tables: rendered for the stage that does it, and for no other."""

from __future__ import annotations

import json

import pytest

from headrace.kube.resources import CONFIGMAPS, JOBS
from headrace.training.observed import Observed, Source
from headrace.training.reports import goes_on
from headrace.training.stages import part_of
from headrace.training.view import Start
from headrace_common.protocol.config import parse_config
from training_builders import DECLARED, MADE, PREPARE, training_job
from training_looks import created, look

START = Start("3", "team-a", "team-a/x")
TRAINS_ONLY = Observed((), (), Source({"train.py": "print()"}, "5"))
WITH_SCRIPT = {**PREPARE, "tables": DECLARED["tables"]}


def trainer(prepare, seen=TRAINS_ONLY, status=None):
    """The container of the first attempt's pod."""
    planned = look(training_job(status, workers=1, prepare=prepare), seen, START)
    [container] = created(planned, JOBS)["spec"]["template"]["spec"]["containers"]
    return container, planned


def instructions(container):
    return parse_config(next(one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG"))


def test_without_a_script_none_is_looked_for_and_none_is_told():
    container, planned = trainer(DECLARED)
    told = instructions(container)
    assert (told.entrypoint, dict(told.parameters)) == ("", {})
    assert told.prepare.tables.dataset == "raw"
    assert told.prepare.tables.as_json()["split"]["train"] == "0.8"
    # The training's copy of the source, which both stages have.
    assert created(planned, CONFIGMAPS)["data"] == {"train.py": "print()"}


def test_the_key_comes_from_its_secret_and_is_in_no_instructions():
    container, planned = trainer(DECLARED)
    [key] = [one for one in container["env"] if one["name"] == "HEADRACE_MASKING_KEY"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "masking", "key": "key"}}
    told = next(one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG")
    assert "masking" not in told
    assert "masking" not in json.dumps(planned.status)


def test_with_a_script_both_are_told():
    both = Observed((), (), Source({"train.py": "", "prepare.py": ""}, "5"))
    told = instructions(trainer(WITH_SCRIPT, both)[0])
    assert told.entrypoint == "prepare.py"
    assert told.prepare.tables is not None


def test_the_script_of_type_script_is_missed_as_before():
    planned = look(training_job(workers=1, prepare=WITH_SCRIPT), TRAINS_ONLY, START)
    assert planned.status["reason"] == "EntrypointNotFound"


def test_the_training_gets_neither_the_key_nor_the_tables():
    container, _ = trainer(DECLARED, status={"stage": "Train", "dataset": MADE})
    assert instructions(container).prepare is None
    assert not [one for one in container["env"] if one["name"] == "HEADRACE_MASKING_KEY"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [("PreparingData", "what is declared in prepare.tables is being done"), ("Uploading", "what came of it is being")],
)
def test_without_a_script_none_is_spoken_of(reason, words):
    alone, with_script = (part_of(training_job(workers=1, prepare=prepare)) for prepare in (DECLARED, WITH_SCRIPT))
    assert words in goes_on(alone, reason)
    assert "script" not in goes_on(alone, reason)
    assert "the script" in goes_on(with_script, reason)


def test_a_source_that_is_missing_is_made_with_the_training_s_script():
    planned = look(training_job(workers=1, prepare=DECLARED), Observed((), (), None), START)
    assert planned.status["reason"] == "SourceNotFound"
    assert "--from-file=train.py" in planned.status["message"]
