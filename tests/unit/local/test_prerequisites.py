"""What is missing is named, each with what to do about it."""

from __future__ import annotations

import pytest

from headrace_local import prerequisites
from headrace_local.errors import LocalClusterError
from headrace_local.progress import silent


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "_which", lambda name: None if name == "runc" else f"/usr/bin/{name}")
    monkeypatch.setattr(prerequisites, "_PROBES", ())
    with pytest.raises(LocalClusterError, match=r"(?s)runc: apt-get install runc.*--install-prerequisites"):
        prerequisites.require(install=False, report=silent)


def test_without_root_that_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert prerequisites.check()[0].what == "root"


def test_a_kernel_feature_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = prerequisites._try(["sh", "-c", "echo no such device >&2; exit 1"], "bridges", "modprobe bridge")
    assert missing == prerequisites.Missing("bridges", "modprobe bridge (no such device)")
