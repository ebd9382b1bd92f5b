"""What each Python of a program without an adapter runs first: it waits for mlflow, and stands in nobody's way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trainer_support import TRAINER

PACKAGE = TRAINER / "headrace_trainer"
STARTUP = PACKAGE / "launcher" / "startup"
JOB = {"MLFLOW_RUN_ID": "the-job-s", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def python(code: str, *paths: Path, first: Path | None = STARTUP, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a Python that has nothing of Headrace but the folder that the launcher puts first."""
    path = os.pathsep.join(map(str, filter(None, [first, *paths])))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **JOB, **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def package(tmp_path):
    """Writes a package's __init__ and gives the folder that it is in."""

    def write(name: str, text: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
        return tmp_path

    return write


def test_a_program_without_mlflow_sees_what_it_would_see_without_us():
    code = "import sys; print(sys.path); print(sorted(sys.modules))"
    ours, plain = python(code), python(code, first=None)
    assert ours.stderr == ""
    paths, modules = ours.stdout.splitlines()
    paths_before, modules_before = plain.stdout.splitlines()
    assert paths == paths_before
    more = set(ast.literal_eval(modules)) - set(ast.literal_eval(modules_before))
    assert more <= {"sitecustomize", "importlib", "importlib.machinery", "importlib._abc", "warnings"}


def test_the_sitecustomize_that_it_stands_before_is_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.ran = __file__")
    ended = python("import sitecustomize; print(ran == sitecustomize.__file__, ran)", tmp_path)
    assert (ended.stdout, ended.stderr) == (f"True {tmp_path / 'sitecustomize.py'}\n", "")


def test_a_sitecustomize_that_raises_is_told_by_python_and_hides_nothing(tmp_path, package):
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('theirs')")
    ended = python("import mlflow; print('goes on')", package("mlflow", "__version__ = '0.1'"))
    assert ended.stdout == "goes on\n"
    assert "ValueError: theirs" in ended.stderr
    assert "mlflow 0.1 cannot be followed" in ended.stderr


def test_an_mlflow_that_cannot_be_followed_is_told_and_used_as_it_is(package):
    ended = python("import mlflow; print(mlflow.own)", package("mlflow", "own = 1; __version__ = '0.1'"))
    assert (ended.stdout, ended.returncode) == ("1\n", 0)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("headrace: mlflow 0.1 cannot be followed (ModuleNotFoundError")


def test_an_mlflow_that_is_not_there_is_missing_as_it_was():
    code = "import sys, importlib.util\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
    code += "assert importlib.util.find_spec('mlflow') is None\n"
    code += "try:\n    import mlflow\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    ended = python(code)
    assert (ended.stdout, ended.stderr) == ("mlflow\n", "")


def test_an_mlflow_that_is_asked_for_and_imported_later_is_followed(package):
    code = "import importlib.util\nassert importlib.util.find_spec('mlflow')\nimport mlflow"
    ended = python(code, package("mlflow", "__version__ = '0.1'"))
    assert ended.returncode == 0, ended.stderr
    assert "mlflow 0.1 cannot be followed" in ended.stderr


def test_without_a_run_of_the_job_s_mlflow_is_left_alone(package):
    ended = python("import mlflow", package("mlflow", ""), MLFLOW_RUN_ID="")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "path",
    [STARTUP / "sitecustomize.py", *(PACKAGE / "adapters" / f"{n}.py" for n in ("imports", "mlflow_run", "streams"))],
)
def test_a_python_of_the_program_s_own_can_read_it(path):
    text = path.read_text()
    imported = {
        node.module or ""
        for node in ast.walk(ast.parse(text, feature_version=(3, 8)))
        if isinstance(node, ast.ImportFrom)
    }
    assert not any(name.startswith("headrace") for name in imported)
    assert "from __future__ import annotations" in text
