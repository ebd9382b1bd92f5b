"""The image target `launcher` has no framework, and no numpy either: a script that needs none runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def test_a_script_that_needs_no_numpy_runs_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "numpy.py").write_text("raise ModuleNotFoundError('No module named numpy', name='numpy')")
    (tmp_path / "train.py").write_text("import sys\nprint('ran', sys.argv[1:])\n")
    path = os.pathsep.join([str(tmp_path / "without"), str(PACKAGE_ROOT)])
    settings = {"HEADRACE_SEED": "1", "HEADRACE_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}

    done = subprocess.run(
        [sys.executable, "-m", "headrace_trainer.adapters.keras", str(tmp_path / "train.py"), "--x=1"],
        env={**os.environ, **settings, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (done.returncode, done.stdout) == (0, "ran ['--x=1']\n"), done.stderr
