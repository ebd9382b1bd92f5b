"""What is said and looked at before anything is made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from headrace_local import prerequisites, progress
from headrace_local.quickstart import before
from headrace_local.quickstart.__main__ import go_on
from headrace_local.quickstart.report import Report

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done after the machine was looked at; the machine has everything."""
    done: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(prerequisites, "_which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(prerequisites, "_PROBES", ())
    monkeypatch.setattr(before, "end_as_interrupted_on_sigterm", lambda: None)
    monkeypatch.setattr(before, "_make_environment", lambda report: done.append("environment"))
    monkeypatch.setattr(before, "_go_on_in_environment", lambda: done.append("phases") or 0)
    return done


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstart", *arguments])
    return before.main()


def test_what_the_machine_lacks_is_said_before_anything_is_made(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prerequisites, "_which", lambda name: None if name in ("runc", "curl") else "/x")
    monkeypatch.setattr(before, "_can_make_environment", lambda: False)

    assert run(monkeypatch, "--local") == 1

    said = capsys.readouterr()
    assert said.out.startswith("This makes a one-node Kubernetes called quickstart")
    for package in ("curl", "runc", "python3-venv"):
        assert f"apt-get install {package}\n" in said.err
    assert "--install-prerequisites installs the packages" in said.err
    assert said.err.rstrip().endswith("No cluster was made, and nothing in one was changed.")
    assert made == []


def test_where_nothing_is_missing_the_environment_is_made_next(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--local") == 0

    said = capsys.readouterr().out
    assert re.search("(?s)This makes a one-node Kubernetes.*== environment", said)
    assert made == ["environment", "phases"]


def test_only_the_local_cluster_needs_root(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert (run(monkeypatch, "--local"), made) == (1, [])
    assert "needs root: start this with sudo, or name a cluster with --context" in capsys.readouterr().err
    assert run(monkeypatch, "--context", "mine", "--installed") == 0


def test_a_context_without_images_is_refused_at_once(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run(monkeypatch, "--context", "mine"), made) == (1, [])
    assert "--context needs --registry and --tag" in capsys.readouterr().err


def test_deleting_asks_for_no_prerequisites(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "_which", lambda name: None)
    assert (run(monkeypatch, "--local", "--down"), made) == (0, ["environment", "phases"])


def checkout(folder: Path, python: str) -> Path:
    """The script with what it needs so far, and a PATH with nothing in it but `python` as python3."""
    shutil.copytree(ROOT / "local" / "headrace_local", folder / "local" / "headrace_local")
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "quickstart", folder / "scripts")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "dirname").symlink_to(shutil.which("dirname") or "")
    (programs / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (programs / "python3").chmod(0o755)
    return folder


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/bash", str(folder / "scripts" / "quickstart"), *arguments]
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_first_look_needs_no_package(tmp_path: Path) -> None:
    folder = checkout(tmp_path, f'exec {sys.executable} -S "$@"')

    done = start(folder, "--context", "mine", "--installed")

    assert done.stdout.startswith("This works in context mine")
    assert (done.returncode, "the program curl: apt-get install curl" in done.stderr) == (1, True), done.stderr
    assert not (folder / ".venv").exists()


def test_a_python_that_is_too_old_is_said(tmp_path: Path) -> None:
    done = start(checkout(tmp_path, "exit 1"))
    assert (done.returncode, "needs Python 3.11 or later" in done.stderr) == (1, True)


def test_how_far_the_environment_is(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11/site-packages/six-1.17.0.dist-info").mkdir(parents=True)
    lock = tmp_path / "test.txt"
    lock.write_text("# made by uv\nsix==1.17.0 \\\n    --hash=sha256:00\nuv==1.0 \\\n    --hash=sha256:00\n")
    assert before._how_far(tmp_path, lock).startswith("1 of 2 packages are installed")


def test_the_last_words_say_what_is_there() -> None:
    args = Namespace(down=False, context=None, name="quickstart")
    report = Report()
    assert go_on(args, has_begun=report.has_begun) == "Nothing was created. Run the same command again to continue."
    with report.phase("cluster"):
        assert "still there" in go_on(args, has_begun=report.has_begun)


@pytest.mark.parametrize(("is_terminal", "seconds"), [(True, 5.0), (False, 30.0)])
def test_a_log_gets_fewer_lines_of_waiting(is_terminal: bool, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    assert progress.interval_seconds() == seconds
