"""Waiting: an end, a line when something changes, and a limit whose error says where to look."""

from __future__ import annotations

import json

import pytest

from headrace_local.errors import LocalClusterError
from headrace_local.quickstart import report, serving


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "POLL_SECONDS", 0.01)


def test_waiting_says_what_it_sees_only_when_that_changes(capsys):
    seen = iter([(False, "pending"), (False, "pending"), (True, "ready")])

    report.Report().wait("it", lambda: next(seen), timeout=5, hint="")

    lines = [line.split("] ")[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["pending", "ready"]


def test_waiting_ends_at_its_limit_with_the_last_thing_seen_and_a_hint():
    with pytest.raises(LocalClusterError, match=r"the job: not done after 0 s \(last seen: pending\)\. Look there"):
        report.Report().wait("the job", lambda: (False, "pending"), timeout=0.05, hint="Look there")


def test_a_look_that_fails_is_followed_by_another():
    seen = iter([LocalClusterError("connection refused"), (True, "ready")])

    def look():
        found = next(seen)
        if isinstance(found, Exception):
            raise found
        return found

    report.Report().wait("it", look, timeout=5, hint="")

    assert next(seen, None) is None


def test_what_will_never_come_is_not_waited_for():
    def look():
        raise report.CannotGetDoneError("the job failed")

    with pytest.raises(report.CannotGetDoneError, match="the job failed"):
        report.Report().wait("it", look, timeout=60, hint="")


def test_a_phase_that_fails_is_not_among_those_that_are_done(tmp_path):
    told = report.Report()
    with told.phase("one"):
        pass
    with pytest.raises(LocalClusterError), told.phase("two"):
        raise LocalClusterError("no")
    told.write(tmp_path / "phases.json")

    assert [phase["name"] for phase in json.loads((tmp_path / "phases.json").read_text())["phases"]] == ["one"]


def test_an_answer_of_many_numbers_is_shown_with_the_first_of_them():
    answer = '{"model_version":"2","outputs":[{"shape":[1,6],"data":[1,2,3,4,5,6]}]}'

    assert serving.shortened(answer) == '{"model_version":"2","outputs":[{"shape":[1,6],"data":[1,2,3,4,... 2 more]}]}'
