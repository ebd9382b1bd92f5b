"""The service that the quickstart makes, also where an earlier run has left a promoted version."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from headrace_local.quickstart import serving
from headrace_local.quickstart.report import Report


def revision(version):
    return {"model": {"version": version}}


def stable(version):
    return {"phase": "Stable", "stable": revision(version), "columns": {"ready": "True", "stable": version}}


FIRST = {"phase": "Pending", "canary": revision("1")}
STEPS = {"phase": "Canarying", "stable": revision("1"), "canary": revision("2")}


class Target:
    """Has one status after the other, the last one for good; without requests no canary gets further."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.is_asked = False
        self.asked = 0

    @contextmanager
    def requests(self):
        self.is_asked = True
        self.asked += 1
        yield
        self.is_asked = False

    def kubectl(self, *arguments, stdin=None):
        if arguments[0] != "get":
            return ""
        status = self.statuses[0]
        if len(self.statuses) > 1 and (status is not STEPS or self.is_asked):
            self.statuses.pop(0)
        return json.dumps({"status": status})


@pytest.fixture
def report(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return Report()


def started(target, report, version):
    serving.start(target, report, SimpleNamespace(number=version), target.requests)


def test_the_first_run_waits_until_its_version_serves_and_sends_nothing(report):
    target = Target(FIRST, FIRST, stable("1"))

    started(target, report, "1")

    assert target.asked == 0


def test_after_an_earlier_run_its_version_takes_the_steps_under_requests_and_they_end(report, capsys):
    target = Target(FIRST, stable("1"), STEPS, STEPS, stable("2"))

    started(target, report, "2")

    assert (target.asked, target.is_asked) == (1, False)
    assert target.statuses == [stable("2")]
    said = capsys.readouterr()
    assert "version 1 was promoted in an earlier run: version 2 takes over in steps" in said.out + said.err
