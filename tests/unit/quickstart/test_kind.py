"""Which cluster the quickstart makes, and what kind and Docker are told: with stand-ins for the programs, that write
down their arguments. That kind makes a cluster of it is not shown here.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from headrace_local.errors import LocalClusterError
from headrace_local.quickstart import kind, platform
from headrace_local.quickstart.arguments import KIND_PROGRAMS, is_kind_available
from headrace_local.quickstart.report import Report

StandIns = Callable[..., Path]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """Programs in a PATH of their own; the result is the file with their calls."""

    def make(*, without: str = "", docker: int = 0, clusters: str = "", minor: str = "34") -> Path:
        folder, calls = tmp_path / "bin", tmp_path / "calls"
        folder.mkdir()
        version = json.dumps({"serverVersion": {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}})
        bodies = {
            "docker": f'[ "$1" != info ] || exit {docker}',
            "kind": f'case "$*" in "get clusters") printf "%s" "{clusters}";; esac',
            "kubectl": f"case \"$*\" in *get-contexts*) echo kind-headrace-q;; *version*) echo '{version}';; esac",
        }
        for name in bodies.keys() - {without}:
            program = folder / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{bodies[name]}\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        return calls

    return make


@pytest.mark.parametrize("missing", KIND_PROGRAMS)
def test_where_a_program_is_missing_kind_is_not_chosen(missing: str, stand_ins: StandIns) -> None:
    stand_ins(without=missing)
    assert not is_kind_available()


def test_where_docker_does_not_answer_kind_is_not_chosen(stand_ins: StandIns) -> None:
    stand_ins(docker=1)
    assert not is_kind_available()


def test_the_cluster_is_made_once_with_a_kubeconfig_of_its_own(stand_ins: StandIns, tmp_path: Path) -> None:
    calls = stand_ins()

    kind.make("q", Report())

    kubeconfig = tmp_path / "state/headrace/kind/q/kubeconfig"
    said = calls.read_text().splitlines()
    assert f"kind create cluster --wait=120s --name=headrace-q --kubeconfig={kubeconfig}" in said
    assert said[-1] == f"kubectl --kubeconfig={kubeconfig} apply --server-side -f {kind.GATEWAY_API_MANIFESTS}"


def test_a_cluster_that_is_there_is_used(stand_ins: StandIns) -> None:
    calls = stand_ins(clusters="headrace-q")

    kind.make("q", Report())

    assert "create cluster" not in calls.read_text()
    assert "kind export kubeconfig" in calls.read_text()


def test_a_kubernetes_that_is_too_old_is_refused(stand_ins: StandIns) -> None:
    stand_ins(minor="31")

    with pytest.raises(LocalClusterError, match=r"Kubernetes v1\.31\.0, Headrace needs 1\.33"):
        kind.make("q", Report())


def test_every_image_is_built_and_all_are_loaded(stand_ins: StandIns) -> None:
    calls = stand_ins()

    kind.build("q", platform.IMAGES, Report())

    said = calls.read_text().splitlines()
    built = [line.split("--tag=")[1].split()[0] for line in said if line.startswith("docker build")]
    assert built == [f"headrace.local/{short}:dev" for short in platform.IMAGES]
    assert said[-1] == f"kind load docker-image --name=headrace-q {' '.join(built)}"


def test_everything_asked_of_the_cluster_names_its_kubeconfig(stand_ins: StandIns, tmp_path: Path) -> None:
    calls = stand_ins()

    with ExitStack() as stack:
        target = kind.KindTarget("q", stack)
        target.kubectl("get", "pods")

    kubeconfig = tmp_path / "state/headrace/kind/q/kubeconfig"
    assert calls.read_text().splitlines()[-1] == f"kubectl --context=kind-headrace-q --kubeconfig={kubeconfig} get pods"
    assert target.how_to_reach()[0] == f"export KUBECONFIG={kubeconfig}"
    assert target.clean_up().startswith("scripts/quickstart --down --name q")
