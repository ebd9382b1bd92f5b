"""The programs are built once for what goes into them; a build that fails leaves nothing that looks whole."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace_local import binaries, paths, toolchain, trimming
from headrace_local.errors import LocalClusterError
from headrace_local.progress import silent

# Stands in for the Go toolchain: it "builds" empty files, and notes each build.
FAKE_GO = """\
#!/bin/sh
case "$1" in
env) echo go1.26; echo linux; echo amd64 ;;
mod) mkdir vendor ;;
build) [ -f vendor/trimmed ] || { echo "not trimmed" >&2; exit 1; }
       echo built >> "$BUILDS"; sleep 0.3; [ -z "$BROKEN" ] || { echo "undefined: x" >&2; exit 1; }
       while [ "$1" != -o ]; do shift; done; touch "$2/kubernetes" ;;
esac
"""


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    go = tmp_path / "go"
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "go.mod").write_text("module m\n")
    monkeypatch.setattr(toolchain, "go", lambda report: go)
    monkeypatch.setattr(paths, "go_sources", lambda: sources)
    monkeypatch.setattr(trimming, "trim", lambda vendor: (vendor / "trimmed").touch())
    monkeypatch.setattr(binaries, "_gateway_api_manifests", lambda go: "kind: Nothing\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    return tmp_path / "builds"


def test_concurrent_callers_build_once(builds: Path) -> None:
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = set(pool.map(lambda _: binaries.ensure(silent), range(4)))
    assert len(found) == 1
    assert builds.read_text() == "built\n"
    (built,) = found
    assert built.path("kubectl").resolve().name == "kubernetes"


def test_a_changed_source_is_built_beside_the_old_one(builds: Path, tmp_path: Path) -> None:
    first = binaries.ensure(silent)
    (tmp_path / "sources" / "main.go").write_text("package main\n")
    second = binaries.ensure(silent)
    assert first.directory != second.directory
    assert first.path("kubectl").exists()


def test_a_failed_build_says_what_the_compiler_said_and_leaves_nothing(
    builds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(LocalClusterError, match="undefined: x"):
        binaries.ensure(silent)
    assert [path for path in (tmp_path / "cache" / "headrace" / "bin").iterdir() if path.is_dir()] == []


def test_the_collectors_limit_is_a_core_s_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that as many compilers as there are cores fit into it."""
    memory = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * 1024**3 // 4096}
    monkeypatch.setattr(os, "sysconf", memory.__getitem__)
    monkeypatch.setattr(os, "cpu_count", lambda: 14)

    assert binaries.collector() == {"GOGC": "off", "GOMEMLIMIT": str(4 * 1024**3)}
