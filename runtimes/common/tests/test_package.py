"""What the package asks of whoever imports it, and what a package that may not import it says again."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from headrace_common import formats

RUNTIMES = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys
import headrace_common
for module in pkgutil.walk_packages(headrace_common.__path__, "headrace_common."):
    importlib.import_module(module.name)
print(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - set(sys.argv[1:])))
"""


def test_all_of_it_is_imported_with_the_standard_library_alone():
    def imported(code: str, *without: str) -> str:
        command = [sys.executable, "-c", code, *without]
        return subprocess.run(command, cwd=RUNTIMES / "common", capture_output=True, text=True, check=True).stdout

    bare = imported("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert imported(IMPORT_ALL, *bare) == "['headrace_common']\n"


def test_the_client_which_is_installed_without_it_names_the_same_files(monkeypatch):
    monkeypatch.syspath_prepend(str(RUNTIMES / "client"))
    client = importlib.import_module("headrace_client._export")
    assert client.FORMATS["ONNX"] == formats.FILES["ONNX"]
    assert client.FORMATS["TensorFlow"] == formats.FOLDERS["TensorFlow"]
