"""The command line: errors go to stderr as one sentence with what to do, never as a traceback."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator

import pytest

from headrace_local.command import Command
from headrace_local.instance import Instance


@pytest.fixture(autouse=True)
def _as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture(autouse=True)
def _keep_signal_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _run(*words: str) -> int:
    command = Command()
    parser = argparse.ArgumentParser(prog="headrace local")
    command.configure(parser)
    return command.run(parser.parse_args(words))


def test_a_bad_name_is_refused_with_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("down", "--name", "../up") == 1
    assert "up to 30 lower-case letters" in capsys.readouterr().err


def test_without_root_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert _run("up", "--name", "unit-absent") == 1
    assert "start it with sudo" in capsys.readouterr().err


def test_logs_of_an_instance_that_is_not_there_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("logs", "--name", "unit-absent") == 1
    assert "does unit-absent run?" in capsys.readouterr().err


def test_an_interrupted_command_exits_as_shells_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Instance, **options: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Instance, "up", interrupted)
    assert _run("up") == 130


def test_a_terminated_command_cleans_up_as_an_interrupted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Instance, "up", lambda self, **options: signal.raise_signal(signal.SIGTERM))
    assert _run("up") == 130
