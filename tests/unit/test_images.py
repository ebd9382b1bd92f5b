"""Every image has the packages of ours that its packages import: one that lacks any fails only in a pod."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = [ROOT / "operator" / "Dockerfile", *sorted((ROOT / "runtimes").glob("*/Dockerfile"))]
STAGE = re.compile(r"^FROM .*$", re.MULTILINE)
COPIED = re.compile(r"^COPY (\S+) ", re.MULTILINE)


def packages(stage: str) -> dict[str, Path]:
    """The packages of ours below the folders that a stage copies from the repository."""
    folders = [ROOT / source for source in COPIED.findall(stage) if not source.startswith("-")]
    found = [[folder] if folder.name.startswith("headrace") else folder.glob("headrace*") for folder in folders]
    return {path.name: path for paths in found for path in paths if path.is_dir() and path.suffix == ""}


def imported(package: Path) -> set[str]:
    """The packages of ours that a package imports, wherever in a module."""
    names: set[str] = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return {name.partition(".")[0] for name in names if name.startswith("headrace")}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.parent.name)
def test_an_image_has_what_its_packages_import(dockerfile):
    for stage in STAGE.split(dockerfile.read_text(encoding="utf-8")):
        copied = packages(stage)
        needed = {name for path in copied.values() for name in imported(path)}
        assert needed <= set(copied)


def test_the_operators_build_context_has_what_its_dockerfile_copies():
    lines = (ROOT / "operator" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = COPIED.findall((ROOT / "operator" / "Dockerfile").read_text(encoding="utf-8"))
    assert "runtimes/common" in copied
    assert {source for source in copied if not source.startswith("-")} <= let_in | {"pyproject.toml"}
