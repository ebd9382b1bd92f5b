"""Commands run to their end: what they say is heard, when they fail and while they are long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from headrace_local import shell
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Stopwatch, silent


def _long(script: str, *, timeout: float = 20, reports: list[str] | None = None) -> None:
    shell.run_long(
        ["sh", "-c", script],
        what="the work",
        timeout=timeout,
        report=silent if reports is None else reports.append,
        describe=lambda lines: f"{len(lines)} lines, {lines[-1] if lines else ''}",
    )


def test_a_command_that_fails_is_quoted_with_what_it_said() -> None:
    with pytest.raises(LocalClusterError, match=r"`sh -c .*` failed \(3\): no such device"):
        shell.run(["sh", "-c", "echo no such device >&2; exit 3"])


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(LocalClusterError, match="not done after 0"):
        shell.run(["sleep", "60"], timeout=0.2)


def test_a_long_command_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "Stopwatch", lambda: Stopwatch(interval=0.1))
    reports: list[str] = []
    _long("echo first >&2; sleep 1", reports=reports)
    assert reports
    assert reports[0].startswith("  the work: 0 s, 1 lines, first")


def test_a_long_command_that_fails_shows_its_last_lines() -> None:
    with pytest.raises(LocalClusterError, match=r"(?s)the work failed \(1\).*line 40"):
        _long("i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i >&2; done; exit 1")


def test_a_long_command_that_is_given_up_takes_its_children_along(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(LocalClusterError, match="not done"):
        _long(f"(sleep 2; touch {tmp_path}/child) & sleep 60", timeout=0.3)
    time.sleep(max(0.0, 2.5 - (time.monotonic() - started)))
    assert not (tmp_path / "child").exists()
