"""What is told becomes what is reported and kept, whoever tells it; without a process, a store or a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_common.protocol.report import State
from headrace_trainer.launcher.messages import Checkpoint, Chosen, Exporting, Fit, Resume, Step
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.told import Told

FIT = Fit(fit=0, epochs=1, steps_per_epoch=4)
STEP = Step(fit=0, epoch=0, step=3, time=0, metrics={"loss": 0.5})


class Working:
    """All that is asked of a stage here."""

    working = State.TRAINING


class Uploads:
    def __init__(self):
        self.folders = []

    def submit(self, upload):
        self.folders.append(upload.checkpoint.folder)


@pytest.fixture
def uploads():
    return Uploads()


@pytest.fixture
def report():
    return Report(0)


@pytest.fixture
def told(report, uploads):
    return Told(report, Working(), Settings(), 2, None, uploads)


def test_a_step_says_that_it_trains_and_how_far(told, report):
    script = Script()
    told.take(FIT, script)
    told.take(STEP, script)
    assert (report.state, script.steps_seen) == (State.TRAINING, 3)


def test_a_followed_scripts_own_step_is_a_metric_and_no_progress(told, report):
    told.take(FIT, Script())
    told.take(Exporting(), Script())
    told.take_from_script(STEP)
    assert report.state is State.EXPORTING
    assert report.metrics.latest == {"loss": 0.5}


def test_which_model_is_meant_is_not_for_a_followed_script_to_say(told, capfd):
    told.take_from_script(Chosen("digits", "", {}, ()))
    assert "a message of the script itself is left out: Chosen is told by who follows it" in "".join(capfd.readouterr())


def test_only_checkpoints_of_the_own_folder_are_kept_since_they_are_deleted_then(told, uploads):
    own = Settings().paths.checkpoints / "3"
    for folder in (Path("/data/mine"), own):
        told.take(Checkpoint(folder=folder, fit=0, epoch=0, step=3, time=0), Script())
    assert uploads.folders == [own]


def test_a_slow_upload_is_warned_of_once(told, report):
    told.compare_with_grace(1.0)
    assert report.warnings == {}
    told.compare_with_grace(3600.0)
    told.compare_with_grace(7200.0)
    assert "keeping a checkpoint takes 3600 s" in report.warnings["grace"]


def test_a_script_that_began_anew_went_on_from_nothing(told, report):
    told.take(Resume(fit=0, epoch=0, step=3, exact=True, message=""), Script())
    assert report.resume is None
