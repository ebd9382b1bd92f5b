"""Between the attempts that write one run: who waits for whom."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from headrace_trainer.launcher.tracking.fence import Fence, Superseded
from headrace_trainer.launcher.tracking.mlflow import Run

RUN = Run("abc", "3", "s3://b/artifacts", 1764000000000, {}, {}, "RUNNING", False)


def wrote(attempt):
    return replace(RUN, tags={"headrace.attempt": str(attempt)})


def seconds_until_it_writes(found, attempt):
    now = wrote(attempt)
    fence = Fence(SimpleNamespace(get_run=lambda _: now), attempt)
    began = time.monotonic()
    fence.check(found)
    fence.take()
    fence.look(now)
    return time.monotonic() - began


def test_an_attempt_waits_for_the_one_before_it():
    assert seconds_until_it_writes(wrote(1), 2) > 5


def test_nobody_is_waited_for_where_a_stage_before_has_only_made_the_run():
    assert seconds_until_it_writes(RUN, 2) < 1


def test_a_later_attempt_has_the_run_for_itself():
    with pytest.raises(Superseded):
        Fence(SimpleNamespace(), 1).check(wrote(2))
