"""Renders the chart with the real helm, without a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[3] / "charts" / "headrace"
HELM = Path(sys.executable).parent / "helm"

Object = dict[str, Any]


class Rendered(tuple[Object, ...]):
    """All objects of a rendering."""

    def of(self, kind: str) -> dict[str, Object]:
        """The objects of a kind, by name."""
        return {item["metadata"]["name"]: item for item in self if item["kind"] == kind}

    def container(self, deployment: str) -> Object:
        container: Object = self.of("Deployment")[deployment]["spec"]["template"]["spec"]["containers"][0]
        return container

    def env(self, deployment: str) -> dict[str, Any]:
        """The variables of a Deployment: a value, or (Secret, key)."""
        return {
            item["name"]: item.get("value", tuple(item.get("valueFrom", {}).get("secretKeyRef", {}).values()))
            for item in self.container(deployment)["env"]
        }


@cache
def _helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60)


def _template(
    settings: tuple[str, ...], kubernetes: str = "1.34.4", chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    sets = [argument for setting in settings for argument in ("--set", setting)]
    where = ("--namespace", "headrace-system", "--kube-version", kubernetes)
    return _helm("template", "headrace", str(chart), *where, *sets)


def _objects(text: str) -> Rendered:
    return Rendered(item for document in text.split("\n---\n") if (item := _object(document)))


@cache
def _object(document: str) -> Object | None:
    """What renderings have in common is read once, by libyaml: the CRDs are long, and Python takes longer than helm."""
    item: Object | None = yaml.load(document, Loader=yaml.CSafeLoader)
    return item


@pytest.fixture
def chart() -> Path:
    """The chart's folder."""
    return CHART


@pytest.fixture
def render() -> Callable[..., Rendered]:
    def run(*settings: str) -> Rendered:
        done = _template(settings)
        assert done.returncode == 0, done.stderr
        return _objects(done.stdout)

    return run


@pytest.fixture
def notes(tmp_path: Path) -> Callable[..., str]:
    """What an installation says in the end. Without a cluster helm leaves it out, so a ConfigMap of a copy holds it."""
    copy = shutil.copytree(CHART, tmp_path / "headrace")
    (copy / "templates" / "NOTES.txt").rename(copy / "notes")
    (copy / "templates" / "notes.yaml").write_text(
        '{kind: ConfigMap, metadata: {name: notes}, data: {text: {{ tpl (.Files.Get "notes") . | quote }}}}\n'
    )

    def run(*settings: str) -> str:
        done = _template(settings, chart=copy)
        assert done.returncode == 0, done.stderr
        return str(_objects(done.stdout).of("ConfigMap")["notes"]["data"]["text"])

    return run


@pytest.fixture
def refusal() -> Callable[..., str]:
    """What helm says to values that the chart refuses."""

    def run(*settings: str, kubernetes: str = "1.34.4") -> str:
        done = _template(settings, kubernetes)
        assert done.returncode != 0, f"accepted: {settings}"
        return done.stderr

    return run


@pytest.fixture
def lint() -> Callable[..., str]:
    def run(*settings: str) -> str:
        sets = [argument for setting in settings for argument in ("--set", setting)]
        done = _helm("lint", "--strict", "--kube-version", "1.34.4", str(CHART), *sets)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return run
