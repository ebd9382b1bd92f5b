"""What goes on, in words: of each stage, and of each state that a launcher may report, the stage's own."""

import pytest

from headrace.api.trainingjob import Stage
from headrace.training.record import read_live
from headrace.training.reports import goes_on, reason_of
from headrace.training.stages import part_of
from headrace_common.protocol.report import State
from training_builders import DECLARED, EVALUATE, JUDGED, MODEL, PREPARE, training_job
from tuning_looks import TUNING

SCRIPT = {"task": "Script", "entrypoint": "judge.py"}
TO_JUDGE = {"name": "team-a.text"} | {name: MODEL[name] for name in ("uri", "digest")}


def part(stage, **spec):
    return part_of(training_job({"stage": stage, "model": TO_JUDGE}, workers=1, **JUDGED | {"prepare": PREPARE} | spec))


PARTS = {
    "a preparation": part("Prepare"),
    "tables alone": part("Prepare", prepare=DECLARED),
    "a training": part("Train"),
    "trials": part("Tune", tuning=TUNING),
    "an evaluation": part("Evaluate", evaluate=EVALUATE),
    "an evaluation beside tables": part("Evaluate", prepare=DECLARED),
    "an evaluation by a script": part("Evaluate", evaluate=SCRIPT),
}
# What a text of another stage, or of a program that is not there, would have.
FOREIGN = {
    "a preparation": ("train", "model", "report", "evaluat", "judge"),
    "tables alone": ("train", "model", "report", "evaluat", "judge", "script", "checkpoint"),
    "a training": ("prepare", "judge", "spec.evaluate", "report"),
    "trials": ("prepare", "report", "evaluat", "judge", "script", "checkpoint", "the training"),
    "an evaluation": ("prepare", "training", "script", "checkpoint"),
    "an evaluation beside tables": ("prepare", "training", "script", "checkpoint"),
    "an evaluation by a script": ("prepare", "training", "checkpoint"),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", PARTS)
def test_what_goes_on_is_told_in_the_words_of_its_stage(name, state):
    part, live = PARTS[name], read_live({"protocol": 1, "state": state.value})
    assert live is not None

    text = goes_on(part, reason_of(part, live))

    assert text
    assert [word for word in FOREIGN[name] if word in text.lower()] == []


def test_the_table_has_every_stage():
    assert {part.stage for part in PARTS.values()} == set(Stage)
