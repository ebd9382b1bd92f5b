"""How far, and how long still."""

import json
import urllib.request

import pytest

from headrace_common.serve import ProgressServer
from headrace_trainer.launcher.messages import Epoch, Fit, Step
from headrace_trainer.launcher.progress import Progress


def step(number, time, fit=0, epoch=0):
    return Step(fit=fit, epoch=epoch, step=number, time=time, metrics={})


def test_nothing_is_said_before_a_fit():
    assert Progress().now().with_times() == {}


def test_the_time_left_follows_from_the_steps_measured_after_the_first():
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=2, steps_per_epoch=100))
    progress.advance(step(1, time=60_000))  # building the model took a minute
    progress.advance(step(51, time=65_000))
    shown = progress.now().with_times()
    assert shown["stepsPerSecond"] == pytest.approx(10.0)
    assert shown["etaSeconds"] == 15  # 149 steps
    assert shown["percent"] == 25.5
    assert (shown["epoch"], shown["epochs"], shown["step"], shown["steps"]) == (1, 2, 51, 200)


def test_a_resumed_fit_is_measured_from_where_it_goes_on():
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=1, steps_per_epoch=1000))
    progress.advance(step(901, time=0))
    progress.advance(step(911, time=1000))
    assert progress.now().with_times()["etaSeconds"] == 9


def test_old_speed_is_forgotten():
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=1, steps_per_epoch=100_000))
    for second in range(3600):
        progress.advance(step(1 + second, time=second * 1000))
    for second in range(1, 1201):
        progress.advance(step(3600 + 10 * second, time=(3600 + second) * 1000))
    assert progress.now().with_times()["stepsPerSecond"] == pytest.approx(10.0, rel=0.01)


def test_without_a_known_length_there_is_no_percent_and_no_time_left_until_an_epoch_has_ended():
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=4, steps_per_epoch=None))
    progress.advance(step(1, time=0))
    progress.advance(step(20, time=1000))
    assert (progress.now().with_times()["steps"], progress.now().with_times()["percent"]) == (None, None)
    assert progress.now().with_times()["etaSeconds"] is None
    progress.advance(Epoch(fit=0, epoch=0, step=25, time=1250, metrics={}))
    assert progress.now().with_times()["steps"] == 100
    assert progress.now().with_times()["percent"] == 25.0


@pytest.mark.parametrize("steps_per_epoch", [10, None])
def test_a_fit_that_begins_at_a_later_epoch_has_fewer_steps(steps_per_epoch):
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=5, steps_per_epoch=steps_per_epoch, first_epoch=3))
    assert progress.now().epoch == 4
    progress.advance(Epoch(fit=0, epoch=3, step=10, time=1000, metrics={}))
    shown = progress.now()
    assert (shown.steps, shown.percent, shown.epochs) == (20, 50.0, 5)


def test_a_second_fit_begins_at_nought():
    progress = Progress()
    progress.begin(Fit(fit=0, epochs=1, steps_per_epoch=10))
    progress.advance(step(10, time=1000))
    progress.begin(Fit(fit=1, epochs=1, steps_per_epoch=20))
    assert progress.now().as_json() == {"percent": 0.0, "fit": 1, "epoch": 1, "epochs": 1, "step": 0, "steps": 20}


def test_each_answer_says_how_things_are_when_it_is_asked_for_and_costs_nothing_before():
    told = []

    def document():
        told.append(len(told))
        return {"step": told[-1]}

    server = ProgressServer("127.0.0.1", 0, document)
    server.start()
    assert not told
    for number in (0, 1):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/progress", timeout=10) as answer:
            assert json.loads(answer.read()) == {"step": number}
    assert len(told) == 2
