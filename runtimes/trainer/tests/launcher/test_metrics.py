"""No (key, step) of one run means two things, NaN stays NaN, and a queue on disk loses nothing."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_common.tags import MODEL_METRICS_TAG
from headrace_trainer.adapters.messages import in_json
from headrace_trainer.launcher.messages import Chosen, Epoch, Evaluate, Fit, Step, parse_message
from headrace_trainer.launcher.model import chosen
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.tracking.metric_keys import Keys
from headrace_trainer.launcher.tracking.metrics import Base, Metric, MetricLog
from headrace_trainer.launcher.tracking.spool import Spool

GATE_METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.: -]*(/[A-Za-z0-9_][A-Za-z0-9_.: -]*)*")
"""METRIC_PATTERN of operator/headrace/api/scalars.py, which the tests there hold to the same names."""


def train(log, fit, steps):
    log.begin(Fit(fit=fit, epochs=1, steps_per_epoch=steps))
    logged = []
    for number in range(1, steps + 1):
        logged += log.step(Step(fit=fit, epoch=0, step=number, time=number, metrics={"loss": 0.5}))
    return logged + log.epoch(Epoch(fit=fit, epoch=0, step=steps, time=steps, metrics={"loss": 0.5, "val_loss": 0.7}))


def places(metrics):
    return [(metric.key, metric.step) for metric in metrics]


def test_steps_and_epochs_have_keys_of_their_own():
    assert places(train(MetricLog(), 0, 2)) == [("loss", 1), ("loss", 2), ("epoch/loss", 1), ("val_loss", 1)]


def test_a_step_that_only_shows_progress_is_kept_but_not_logged():
    log = MetricLog()
    message = Step(fit=0, epoch=0, step=7, time=1, metrics={"loss": 0.5}, is_logged=False)
    assert log.step(message) == []
    assert log.latest == {"loss": 0.5}


def test_a_second_fit_goes_on_counting():
    log = MetricLog()
    train(log, 0, 2)
    assert places(train(log, 1, 2)) == [("loss", 3), ("loss", 4), ("epoch/loss", 2), ("val_loss", 2)]


def test_a_fit_that_begins_at_a_later_epoch_goes_on_counting():
    log = MetricLog()
    train(log, 0, 2)
    log.begin(Fit(fit=1, epochs=9, steps_per_epoch=2, first_epoch=7))
    message = Epoch(fit=1, epoch=7, step=2, time=2, metrics={"val_loss": 0.7})
    assert places(log.epoch(message)) == [("val_loss", 2)]
    assert log.base_of(2) == Base(steps=4, epochs=2)


def test_an_attempt_that_goes_on_in_the_second_fit_counts_like_the_one_before():
    log = MetricLog()
    log.go_on_from(1, Base(steps=2, epochs=1), after=Base(steps=3, epochs=2))
    assert places(train(log, 1, 2)) == [("loss", 3), ("loss", 4), ("epoch/loss", 2), ("val_loss", 2)]
    assert places(train(log, 2, 1))[0] == ("loss", 5)


def test_an_attempt_that_goes_on_between_two_fits_counts_like_the_one_before():
    log = MetricLog()
    log.go_on_from(1, Base(steps=2, epochs=1), after=Base(steps=4, epochs=2))
    assert places(train(log, 2, 2)) == [("loss", 5), ("loss", 6), ("epoch/loss", 3), ("val_loss", 3)]
    assert places(train(log, 3, 1))[0] == ("loss", 7)


def test_a_checkpoint_between_two_fits_is_of_the_one_that_follows():
    log = MetricLog()
    train(log, 0, 2)
    assert log.base_of(1) == Base(steps=2, epochs=1)


def test_evaluations_are_numbered():
    log = MetricLog()
    log.evaluate(Evaluate({"accuracy": 0.5}), time=1)
    assert places(log.evaluate(Evaluate({"accuracy": 0.6}), time=2)) == [("eval_accuracy", 2)]
    assert log.latest == {"eval_accuracy": 0.6}


def test_a_name_that_mlflow_would_refuse_is_changed():
    log = MetricLog()
    logged = log.step(Step(fit=0, epoch=0, step=1, time=1, metrics={"top@5 (é)": 1.0, "/a//b": 2.0, "": 3.0}))
    assert [metric.key for metric in logged] == ["top_5 ___", "_/a/_/b", "_"]
    assert log.latest == {"top_5 ___": 1.0, "_/a/_/b": 2.0, "_": 3.0}


def test_the_spool_gives_back_in_order_what_it_was_given_and_shrinks(tmp_path):
    spool = Spool(tmp_path / "spool")
    metrics = [Metric("loss", 1 / n, n, n) for n in range(1, 11)]
    spool.append(metrics[:6])
    first = spool.front(4)
    assert list(first.metrics) == metrics[:4]
    assert spool.front(4) == first  # until it is taken
    spool.take(first)
    spool.append(metrics[6:])
    second = spool.front(100)
    assert list(second.metrics) == metrics[4:]
    spool.take(second)
    assert spool.is_empty
    assert (tmp_path / "spool").stat().st_size == 0


@given(st.text(max_size=140))
def test_every_name_that_is_written_can_be_named_by_a_gate(name):
    [metric] = MetricLog().step(Step(fit=0, epoch=0, step=1, time=1, metrics={name: 0.5}))
    assert GATE_METRIC.fullmatch(metric.key)
    assert len(metric.key) <= 128


@pytest.mark.parametrize(
    ("first", "second"), [("a(b)", "a[b]"), ("ошибка", "оценка"), ("a_b_", "a(b)"), ("x" * 129, "x" * 130)]
)
def test_two_names_that_would_be_one_stay_two_and_that_is_told_once(first, second):
    log = MetricLog()

    def keys_of_a_step():
        message = Step(fit=0, epoch=0, step=1, time=1, metrics={first: 1.0, second: 2.0, "à": 3.0, "á": 4.0})
        return [metric.key for metric in log.step(message)]

    keys = keys_of_a_step()
    told = log.keys.take_collision()
    epoch = log.epoch(Epoch(fit=0, epoch=0, step=1, time=1, metrics={first: 1.0, second: 2.0}))

    assert len(set(keys)) == 4
    assert log.latest[keys[1]] == 2.0
    assert keys_of_a_step() == keys
    suffix = keys[1][-7:]
    assert keys[1] == keys[0][:121] + suffix  # the first one keeps the plain name
    assert epoch[1].key.endswith(suffix)
    assert f"the later one is {keys[1]}" in told
    assert log.keys.take_collision() == ""


def test_what_was_measured_on_the_model_has_the_names_that_the_run_has():
    log = MetricLog()
    log.evaluate(Evaluate({"a(b)": 0.5, "a[b]": 0.6}), time=1)
    tags = chosen.tags(Chosen("model", "", {"eval_a(b)": 0.5, "eval_a[b]": 0.6}, ()), log.keys)
    assert json.loads(tags[MODEL_METRICS_TAG]) == log.latest


@given(st.lists(st.text(max_size=140), unique=True))
def test_distinct_names_have_distinct_keys_that_a_gate_may_name(names):
    keys = list(map(Keys().of, names))
    assert len(set(keys)) == len(names)
    assert all(GATE_METRIC.fullmatch(key) and len(key) <= 128 for key in keys)


@given(st.from_regex(GATE_METRIC, fullmatch=True).filter(lambda name: len(name) <= 123))
def test_a_name_that_a_gate_may_have_is_written_as_it_is(name):
    log = MetricLog()
    assert log.step(Step(fit=0, epoch=0, step=1, time=1, metrics={name: 0.5}))[0].key == name
    assert log.evaluate(Evaluate({name: 0.5}), time=1)[0].key == f"eval_{name}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_told_as_what_it_is(value):
    """From the script's process to the run, to /progress and to the record, in JSON that every parser reads."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    line = json.dumps(
        {"type": "epoch", "fit": 0, "epoch": 4, "step": 50, "time": 1, "metrics": in_json({"loss": value})}
    )
    report = Report(worker=0)
    report.metrics.epoch(Epoch(fit=0, epoch=0, step=10, time=1, metrics={"loss": 0.5, "val_loss": 0.5}))

    [logged] = report.metrics.epoch(parse_message(line.encode()))

    assert str(logged.value) == str(value)
    for told in (report.as_record(), report.as_progress()):
        name = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        assert json.loads(json.dumps(told), parse_constant=refuse)["metrics"] == {"loss": name, "val_loss": 0.5}
