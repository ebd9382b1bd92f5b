"""Models that were really exported, made once, and the process of an evaluation run on them in this one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forking import Interpreter
from kept_messages import Kept

from headrace_common.protocol.evaluate import parse_evaluate
from headrace_common.protocol.fields import Fields
from headrace_trainer.evaluation.instructions import Instructions, read_instructions
from headrace_trainer.evaluation.main import evaluate

HERE = Path(__file__).resolve().parent
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="session")
def models(interpreter: Interpreter, tmp_path_factory) -> Path:
    """A folder a model (make_models.py)."""
    folder = tmp_path_factory.mktemp("models")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    interpreter.run(HERE / "make_models.py", [str(folder)], environment, seconds=300)
    return folder


@pytest.fixture
def judged(models, tmp_path_factory) -> Callable[..., dict[str, Any]]:
    """Runs an evaluation of a model, by its name, on files; what evaluation.json says of it. Raises Refusal."""

    def run(
        model: str, files: Path, *, baseline: str = "", task: str = "Classification", about: Any = None, **wanted: Any
    ) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("evaluation")
        results = root / "results"
        results.mkdir()
        of_data = {"dataset": "heldout", "label": "label", **wanted.pop("data", {})}
        whole = {"task": task, "model": {"uri": "s3://b/m", "digest": DIGEST}, "data": of_data, **wanted}
        if baseline:
            whole["baseline"] = {"uri": "s3://b/n", "digest": DIGEST, "version": "4", "alias": "champion"}
        asked = parse_evaluate(Fields(whole, "evaluate"), "evaluate")
        folder = models / baseline if baseline else None
        instructions = Instructions(asked, files, models / model, folder, results, 7, about or {"job": "team-a/job"})
        (root / "instructions").write_text(instructions.as_text())
        run.messages, run.folder = Kept(), results
        evaluate(read_instructions(root / "instructions"), run.messages)
        return json.loads((results / "evaluation.json").read_text())

    return run


@pytest.fixture
def irises() -> dict[str, np.ndarray]:
    """150 rows, with who they are of."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    random = np.random.default_rng(0)
    return {
        "measures": x.astype("float32"),
        "label": y,
        "region": np.array(["north", "south"])[random.integers(0, 2, 150)],
        "sex": np.array(["f", "m"])[random.integers(0, 2, 150)],
        "weight": random.uniform(0.5, 2, 150),
    }
