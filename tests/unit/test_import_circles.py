"""No module of ours imports itself in a circle: which of two is imported first would decide whether either can be."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(
    path.parent
    for folder in (ROOT / "operator", ROOT / "local", *(ROOT / "runtimes").iterdir())
    for path in folder.glob("headrace*/__init__.py")
)


def _name(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.Module, modules: set[str]) -> set[str]:
    """What is imported as the module itself is: not what a function imports later."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= inner or {node.module}
    return found & modules


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_imports_itself_in_a_circle(package):
    paths = {_name(path, package): path for path in package.rglob("*.py")}
    graph = {name: _imports(ast.parse(path.read_text("utf-8")), set(paths)) - {name} for name, path in paths.items()}

    TopologicalSorter(graph).prepare()
