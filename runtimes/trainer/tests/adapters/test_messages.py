"""What the script's process says is read whole by the launcher, however long it is."""

from __future__ import annotations

import os

import pytest

from headrace_trainer.adapters.messages import Messages
from headrace_trainer.launcher.messages import MAX_LINE, Refused, ScriptException, Step, parse_message


@pytest.fixture
def said():
    """Sends one message; what the launcher makes of it."""
    receive, send = os.pipe()
    messages = Messages(send)

    def say(kind: str, **fields):
        messages.send(kind, **fields)
        messages.send("exporting")
        found = []
        with os.fdopen(os.dup(receive), "rb") as pipe:
            while (line := pipe.readline(MAX_LINE)) != b'{"type":"exporting"}\n':
                found.append(parse_message(line))
        return found

    yield say
    os.close(receive)


def test_none_of_many_metrics_is_lost(said):
    long = "\N{GRINNING FACE}" * 120
    metrics = {f"{number}-{long}": float(number) for number in range(1234)}
    found = said("step", fit=0, epoch=0, step=7, time=1, metrics=metrics)
    assert all(isinstance(message, Step) and message.step == 7 for message in found)
    assert {name: value for message in found for name, value in message.metrics.items()} == metrics


def test_a_long_list_is_cut(said):
    names = [f"val_{'x' * 100}_{number}" for number in range(2000)]
    [found] = said("model", name="a", reason="", metrics={}, unmeasured=names)
    assert 50 < len(found.unmeasured) <= 200


def test_a_long_name_of_a_metric_is_cut_as_mlflow_has_it(said):
    (message,) = said("step", fit=0, epoch=0, step=7, time=1, metrics={"m" * 100_000: 1.0})
    assert dict(message.metrics) == {"m" * 128: 1.0}


def test_a_long_exception_keeps_its_beginning_and_its_end(said):
    text = "first " + "\u00e9\n" * 200_000 + " last"
    (message,) = said("exception", time=1, exception="ValueError", message="short", module=None, traceback=text)
    assert isinstance(message, ScriptException)
    assert message.message == "short"
    assert message.traceback.startswith("first ")
    assert message.traceback.endswith(" last")
    assert " [...] " in message.traceback


def test_two_long_texts_are_both_there(said):
    (message,) = said("refused", time=1, message="m" * 100_000, hint="h" * 100_000)
    assert isinstance(message, Refused)
    assert message.message.startswith("mmm")
    assert message.hint.startswith("hhh")
