"""Keras scripts as people write them: each trains, is killed once in mid-training and gone on with, and is served.

What is to come of each stands in outcomes.json, of which docs/reference/scripts.md is made (table.py). `scripts/test
scripts` runs all of them, every other run those that are unlike each other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import served
import trained
from forking import Interpreter
from trained import Training

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted((HERE / "keras").glob("*.py"))
OUTCOMES = json.loads((HERE / "outcomes.json").read_text())
# Scripts of several models, once more with the line that says which of them is meant.
NAMED = {
    "contrastive_learning": "classifier",
    "gan": "gan.generator",
    "k_fold": "final_model",
    "transfer_learning": "model",
    "variational_autoencoder": "vae.decoder",
}
IN_EVERY_RUN = {"functional_two_inputs", "stateful_lstm", "structured_features"}
NAMED_IN_EVERY_RUN = {"variational_autoencoder"}
IS_WHOLE = "HEADRACE_ALL_SCRIPTS" in os.environ
TOLERANCE_OF_SHORT_FLOATS = 1e-2
EXACT = 1e-6


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "script", [path for path in SCRIPTS if IS_WHOLE or path.stem in IN_EVERY_RUN], ids=lambda path: path.stem
)
def test_it_ends_as_the_table_says(script: Path, tmp_path: Path, interpreter: Interpreter) -> None:
    ends_as_the_table_says(script.stem, script, tmp_path, interpreter)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in NAMED if IS_WHOLE or name in NAMED_IN_EVERY_RUN])
def test_the_model_that_it_names_is_served(name: str, tmp_path: Path, interpreter: Interpreter) -> None:
    script = tmp_path / f"{name}.py"
    line = f"__import__('headrace_client').export({NAMED[name]})"
    script.write_text(f"{(HERE / 'keras' / script.name).read_text()}\n{line}\n")
    ends_as_the_table_says(f"{name}: {NAMED[name]}", script, tmp_path, interpreter)


def ends_as_the_table_says(row: str, script: Path, tmp_path: Path, interpreter: Interpreter) -> None:
    whole = trained.undisturbed(script, tmp_path / "whole", interpreter)
    assert whole.exit_code == 0, whole.log[-3000:]
    again = trained.killed_and_gone_on_with(script, tmp_path, interpreter, whole)
    assert again.exit_code == 0, again.log[-3000:]
    outcome = {
        "model": model_of(again),
        "formats": again.formats,
        "progress": bool(whole.of_type("step")),
        "after a kill": after_a_kill(whole, again),
    }
    print(json.dumps({row: outcome}))
    assert model_of(whole) == outcome["model"]
    for name in again.formats:
        assert_served(name, again, tolerance_of(script))
    assert outcome == OUTCOMES.get(row)


def model_of(training: Training) -> str:
    answers = training.answers or {}
    if "candidates" in answers:
        return "asked: " + ", ".join(answers["candidates"])
    return str(answers.get("model", "none"))


def after_a_kill(whole: Training, again: Training) -> str:
    """What is said of the resume; that it is exact has to be true, and may be left unsaid."""
    resumed = again.of_type("resume")
    if not resumed:
        return "starts again"
    said = resumed[-1]["exact"]
    if said is False:
        return "not exact"
    is_same = are_the_same(whole, again)
    assert is_same or not said, "it is called exact and is not"
    return "exact" if is_same else "not exact"


def are_the_same(whole: Training, again: Training) -> bool:
    """The weights, and what was logged of each epoch."""
    assert whole.weights, "nothing to compare"
    pairs = list(zip(whole.weights, again.weights, strict=True))
    if not all(np.allclose(one, other, rtol=EXACT, atol=EXACT) for one, other in pairs):
        return False
    same = whole.metrics.keys() == again.metrics.keys()
    return same and all(
        again.metrics[epoch] == pytest.approx(metrics, rel=EXACT, nan_ok=True)
        for epoch, metrics in whole.metrics.items()
    )


def assert_served(name: str, training: Training, tolerance: float) -> None:
    assert training.answers is not None
    model, inputs = training.folder / "model", training.answers["inputs"]
    answers = served.by_onnxruntime(model, inputs) if name == "ONNX" else served.by_tensorflow_serving(model, inputs)
    [exported] = training.of_type("exported")
    for given, own in zip(answers, training.answers["outputs"], strict=True):
        assert np.shape(given) == np.shape(own)
        if not exported["remark"]:  # else it draws random numbers
            served.assert_same(given, own, tolerance, name)


def tolerance_of(script: Path) -> float:
    return TOLERANCE_OF_SHORT_FLOATS if "mixed_float16" in script.read_text() else served.TOLERANCE
