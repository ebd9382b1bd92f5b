"""Keras scripts as people write them: each trains, is killed once in mid-training and gone on with, and is served.

What is to come of each stands in outcomes.json, of which docs/reference/scripts.md is made (table.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
import trained
from forking import Interpreter
from trained import Training

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted((HERE / "keras").glob("*.py"))
OUTCOMES = json.loads((HERE / "outcomes.json").read_text())
# Of servers that compute in another order, as the export is held to (agreement.py).
TOLERANCE = 1e-4
TOLERANCE_OF_SHORT_FLOATS = 1e-2
EXACT = 1e-6


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_ends_as_the_table_says(script: Path, tmp_path: Path, interpreter: Interpreter) -> None:
    whole = trained.undisturbed(script, tmp_path / "whole", interpreter)
    assert whole.exit_code == 0, whole.log[-3000:]
    again = trained.killed_and_gone_on_with(script, tmp_path, interpreter, whole)
    assert again.exit_code == 0, again.log[-3000:]
    outcome = outcome_of(whole, again)
    print(json.dumps({script.stem: outcome}))
    assert outcome["model"] == whole_model(whole)
    if outcome["after a kill"] == "exact":
        assert_the_same(whole, again)
    for name in again.formats:
        assert_served(name, again, interpreter)
    assert outcome == OUTCOMES.get(script.stem)


def outcome_of(whole: Training, again: Training) -> dict[str, Any]:
    """A row of the table."""
    return {
        "model": whole_model(again),
        "formats": again.formats,
        "epochs seen": len(whole.metrics),
        "after a kill": after_a_kill(again),
    }


def whole_model(training: Training) -> str:
    answers = training.answers or {}
    if "candidates" in answers:
        return "asked: " + ", ".join(answers["candidates"])
    return str(answers.get("model", "none"))


def after_a_kill(again: Training) -> str:
    resumed = again.of_type("resume")
    if not resumed:
        return "starts again"
    words = {True: "exact", False: "not exact", None: "goes on, nothing to compare"}
    return words[resumed[-1]["exact"]]


def assert_the_same(whole: Training, again: Training) -> None:
    """The weights, and what was logged of each epoch."""
    for one, other in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=EXACT, atol=EXACT)
    assert whole.metrics.keys() == again.metrics.keys()
    for epoch, metrics in whole.metrics.items():
        assert again.metrics[epoch] == pytest.approx(metrics, rel=EXACT, nan_ok=True), epoch


def assert_served(name: str, training: Training, interpreter: Interpreter) -> None:
    assert training.answers is not None
    model, inputs = training.folder / "model", training.answers["inputs"]
    if name == "ONNX":
        answers = served.by_onnxruntime(model, inputs)
    else:
        answers = served.by_tensorflow_serving(model, inputs, interpreter)
    [exported] = training.of_type("exported")
    for given, own in zip(answers, training.answers["outputs"], strict=True):
        given, own = numbers(given), numbers(own)
        assert given.shape == own.shape
        if not exported["remark"]:
            scale = np.abs(own).max(initial=1e-3)
            np.testing.assert_allclose(given, own, rtol=0, atol=tolerance(model) * scale, err_msg=name)


def tolerance(model: Path) -> float:
    return TOLERANCE


def numbers(values: Any) -> Any:
    return np.asarray(values, "float64")
