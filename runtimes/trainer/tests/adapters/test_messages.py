"""What the script's process says is read whole by the launcher, however long it is."""

from __future__ import annotations

import json
import os
import select
import time

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


class _Pipe:
    """What comes of it write by write: a read takes all that there is."""

    def __init__(self):
        self._receive, send = os.pipe()
        self.messages = Messages(send)

    def step(self, number):
        self.messages.send("step", fit=0, epoch=0, step=number, time=1, metrics={"loss": 0.5})

    def read(self, seconds):
        if not select.select([self._receive], [], [], seconds)[0]:
            return []
        return [json.loads(line) for line in os.read(self._receive, 1 << 20).splitlines()]


def test_steps_that_come_close_together_are_written_together_within_two_seconds():
    pipe = _Pipe()
    began = time.monotonic()
    pipe.step(1)
    time.sleep(0.5)
    for number in range(2, 50):
        pipe.step(number)
    assert [message["step"] for message in pipe.read(10)] == list(range(1, 50))
    assert 1.0 < time.monotonic() - began < 4.0
    pipe.step(50)  # and so are those after them
    assert [message["step"] for message in pipe.read(10)] == [50]


def test_what_does_not_wait_takes_the_steps_before_it_along():
    pipe = _Pipe()
    for number in (1, 2):
        pipe.step(number)
    pipe.messages.send("epoch", fit=0, epoch=0, step=2, time=1, metrics={})
    found = pipe.read(1.0)
    while len(found) < 3 and (more := pipe.read(1.0)):
        found += more
    assert [(message["type"], message["step"]) for message in found] == [("step", 1), ("step", 2), ("epoch", 2)]


def test_a_flush_waits_for_no_more_steps():
    pipe = _Pipe()
    pipe.step(1)
    began = time.monotonic()
    assert pipe.messages.flush()
    assert time.monotonic() - began < 1.0
    assert [message["step"] for message in pipe.read(0)] == [1]
