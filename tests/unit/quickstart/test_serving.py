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


STEPS = {"phase": "Canarying", "stable": revision("1"), "canary": revision("2")}


class Target:
    """Has one status after the other, the last one for good; without requests no canary gets further."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.is_asked = False

    @contextmanager
    def requests(self):
        self.is_asked = True
        yield
        self.is_asked = False

    def kubectl(self, *arguments, stdin=None):
        if arguments[0] != "get":
            return ""
        status = self.statuses[0]
        if len(self.statuses) > 1 and not (status.get("canary") and not self.is_asked):
            self.statuses.pop(0)
        return json.dumps({"status": status})


@pytest.fixture
def report(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return Report()


def started(target, report, version):
    serving.start(target, report, SimpleNamespace(number=version), target.requests)


def test_the_first_run_waits_until_its_version_serves_and_sends_nothing(report):
    target = Target({"phase": "Pending"}, stable("1"))

    started(target, report, "1")

    assert not target.is_asked


def test_after_an_earlier_run_its_version_takes_the_steps_under_requests_and_they_end(report, capsys):
    target = Target({"phase": "Pending"}, stable("1"), STEPS, STEPS, stable("2"))

    started(target, report, "2")

    assert not target.is_asked
    assert target.statuses == [stable("2")]
    said = capsys.readouterr()
    assert "version 1 was promoted in an earlier run: version 2 takes over in steps" in said.out + said.err
