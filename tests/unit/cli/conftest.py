"""Commands that ask a cluster."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import yaml

from headrace.cli import main as program
from one_object import OneObject


@pytest.fixture
def run_in(monkeypatch, tmp_path) -> Callable[..., int]:
    """Runs the program with these arguments, where `command`, the module of a sub-command, finds this cluster."""
    path = tmp_path / "config"
    context = {"name": "a", "context": {"namespace": "team-a"}}
    path.write_text(yaml.safe_dump({"current-context": "a", "contexts": [context], "clusters": [], "users": []}))

    def of(command: ModuleType, cluster: OneObject, *arguments: str) -> int:
        monkeypatch.setattr(command, "cluster", cluster)
        return program.main([*arguments, "--kubeconfig", str(path)])

    return of
