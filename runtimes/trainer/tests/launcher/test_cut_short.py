"""A script that ends its process itself, before its model could be exported: no other exit code says so."""

from __future__ import annotations

import pytest

from headrace_trainer.launcher.failures.judge import ChildEnd, judge

TRAINS = "from standin_adapter import *\ntrain(3)\n"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.execv('/bin/true', ['true'])"])
def test_it_is_told_so(launch, outside, end):
    launched = launch(f"{TRAINS}import os\n{end}\n", config=outside[1])
    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("UserCode", "EndedBeforeExport")
    assert "before its model could be exported" in launched.record["message"]
    assert "os._exit" in launched.record["hint"]


def test_one_that_exits_by_the_interpreter_is_not_cut_short(launch, outside):
    launched = launch(f"{TRAINS}import sys\nsys.exit(0)\n", config=outside[1])
    launched.wait()
    assert launched.record["reason"] == "BadConfig"  # the stand-in exports nothing


def test_one_that_has_trained_nothing_is_told_that_and_the_other():
    end = ChildEnd(exit_code=0, trained_steps=0, nothing_trained_hint="Call model.fit.", is_cut_short=True)
    failure = judge(end)
    assert failure is not None
    assert failure.reason == "NothingTrained"
    assert failure.hint.startswith("Call model.fit. ")
    assert "os._exit" in failure.hint


def test_an_exit_code_says_more():
    failure = judge(ChildEnd(exit_code=7, trained_steps=3, is_cut_short=True))
    assert failure is not None
    assert failure.reason == "ScriptExited"
