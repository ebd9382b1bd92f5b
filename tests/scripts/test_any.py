"""Programs of all kinds as people write them, with the few lines that tell Headrace of them: each is run by the real
launcher as `framework: Script`, killed once in mid-training and started again, and its model is served.

What is to come of each stands in outcomes.json. `scripts/test scripts` runs all of them, every other run two.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
from pods import CLIENT, Pod, fetched
from trainer_support import S3, TRAINER, Launched, Mlflow

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted(path for path in (HERE / "any").iterdir() if path.suffix in (".py", ".sh"))
OUTCOMES = json.loads((HERE / "outcomes.json").read_text())
IN_EVERY_RUN = {"sklearn_pipeline", "xgboost_continued"}
IS_WHOLE = "HEADRACE_ALL_SCRIPTS" in os.environ
EXACT = 1e-6


def of_one_input(name: str, rows: str, **outputs: str) -> dict[str, dict[str, str]]:
    return {"inputs": {name: rows}, "outputs": outputs}


# What a model is asked where its program hands it over, in the program's names; of a program that has none: nothing.
QUESTIONS: dict[str, dict[str, dict[str, str]]] = {
    "sklearn_grid_search": of_one_input(
        "X",
        "X_test[:5]",
        label="search.predict(X_test[:5])",
        probabilities="search.decision_function(X_test[:5])",
    ),
    "sklearn_mlflow_autolog": of_one_input(
        "X", "X_test[:5]", label="forest.predict(X_test[:5])", probabilities="forest.predict_proba(X_test[:5])"
    ),
    "sklearn_partial_fit": of_one_input(
        "X", "X_test[:5]", label="clf.predict(X_test[:5])", probabilities="clf.predict_proba(X_test[:5])"
    ),
    "sklearn_pipeline": {
        "inputs": {
            name: f"X_test.dropna()[['{name}']][:5].values" for name in ("age", "fare", "harbour", "sex", "cabin_class")
        },
        "outputs": {
            "label": "clf.predict(X_test.dropna()[:5])",
            "probabilities": "clf.predict_proba(X_test.dropna()[:5])",
        },
    },
    "sklearn_regressor": of_one_input("X", "X_test[:5]", variable="reg.predict(X_test[:5])"),
    "tensorboard_writer": of_one_input(
        "X", "X_test[:5]", label="net.predict(X_test[:5])", probabilities="net.predict_proba(X_test[:5])"
    ),
    "xgboost_classifier": of_one_input(
        "input", "X_test[:5]", label="model.predict(X_test[:5])", probabilities="model.predict_proba(X_test[:5])"
    ),
    "xgboost_continued": of_one_input("house", "X[:5]", variable="booster.predict(xgb.DMatrix(X[:5]))"),
    "lightgbm_regressor": of_one_input(
        "features", "valid[features][:5].values", variable="model.predict(valid[features][:5])"
    ),
    "keras_on_jax": of_one_input("keras_tensor", "x[:5]", output_0="model.predict(x[:5])"),
}
# What a program itself logs, and what it leaves in its outputs folder.
LOGGED = {"sklearn_mlflow_autolog": {"test_accuracy", "training_score"}}
OUTPUTS = {"sklearn_regressor": "deviance.png", "tensorboard_writer": "tfevents"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "program", [path for path in PROGRAMS if IS_WHOLE or path.stem in IN_EVERY_RUN], ids=lambda path: path.stem
)
def test_it_ends_as_the_table_says(program: Path, tmp_path: Path, launch: Any, s3: S3, mlflow: Mlflow) -> None:
    bucket = s3.bucket()
    pod = Pod(
        program, QUESTIONS.get(program.stem, {}), config_of(program.stem, bucket, s3, mlflow), launch, tmp_path / "a"
    )
    whole, seconds = pod.undisturbed()
    assert whole.process.returncode == 0, whole.log[-3000:]
    own = pod.answers if pod.questions else None
    first = pod.killed(seconds, saves="checkpoint" in whole.record)
    assert first.record["class"] == "Killed", first.log[-3000:]
    second = pod.once_more()
    assert second.process.returncode == 0, second.log[-3000:]

    model = second.record.get("model", {})
    outcome = {
        "formats": model.get("formats", []),
        "progress": second.record.get("progress", {}).get("step", 0) > 1,  # one value at the end is none
        "after a kill": after_a_kill(own, pod.answers) if own else "starts again",
    }
    print(json.dumps({program.stem: outcome}))
    if pod.questions:
        assert_served(fetched(model["uri"], bucket, s3, tmp_path / "model"), pod.answers)
    assert LOGGED.get(program.stem, set()) <= metrics_of(second, mlflow)
    assert any(OUTPUTS.get(program.stem, "") in key for key in s3.keys(bucket, "artifacts"))
    assert outcome == OUTCOMES.get(program.stem)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "framework"), [(0, "Keras"), (1, "Script")])
def test_the_examples_of_the_readme_meet_the_gate_of_its_job(number, framework, launch, train, s3, mlflow) -> None:
    _, _, section = (HERE.parents[1] / "README.md").read_text().partition("## Train a script")
    example = section.split("```python\n")[number + 1].split("```")[0]
    bucket = s3.bucket()
    config = config_of("readme", bucket, s3, mlflow) | {"framework": framework, "output": {"formats": ["ONNX"]}}
    environment = {"PYTHONPATH": os.pathsep.join([str(TRAINER), str(CLIENT)])}
    if framework == "Keras":
        launched = train(example, config=config)
    else:
        launched = launch(example, config=config, env=environment)
    assert launched.wait(300) == 0, launched.log
    record = launched.record
    assert record["model"]["formats"] == ["ONNX"]
    [least] = re.findall(r'gates: \[\{metric: accuracy, min: "([\d.]+)"\}\]', section)
    assert record["metrics"]["accuracy"] >= float(least)


def config_of(program: str, bucket: str, s3: S3, mlflow: Mlflow) -> dict[str, Any]:
    config = {
        "framework": "Script",
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment(program, f"s3://{bucket}/artifacts"),
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 10, "keep": 3},
    }
    if program in QUESTIONS:
        config["output"] = {"formats": ["TensorFlow" if program == "keras_on_jax" else "ONNX"]}
    return config


def after_a_kill(whole: dict[str, Any], again: dict[str, Any]) -> str:
    """Exact: it went on from a checkpoint, and its model answers as that of the undisturbed run does."""
    if not again["step"]:
        return "starts again"
    if whole["inputs"] != again["inputs"]:
        return "goes on"
    outputs = [(np.asarray(whole["outputs"][name]), np.asarray(values)) for name, values in again["outputs"].items()]
    is_same = all(
        one.shape == other.shape and np.allclose(one, other, rtol=EXACT, atol=EXACT) for one, other in outputs
    )
    return "exact" if is_same else "goes on"


def assert_served(model: Path, own: dict[str, Any]) -> None:
    if (model / "onnx").is_dir():
        answers = served.named_by_onnxruntime(model, own["inputs"])
    else:
        [only] = own["outputs"]
        answers = {only: served.values_by_tensorflow_serving(model, own["inputs"])}
    assert answers.keys() == own["outputs"].keys()
    for name, values in own["outputs"].items():
        served.assert_same(answers[name], values, served.TOLERANCE, name)


def metrics_of(launched: Launched, mlflow: Mlflow) -> set[str]:
    run = mlflow.call("GET", f"runs/get?run_id={launched.record['run']['id']}")["run"]
    return {entry["key"] for entry in run["data"].get("metrics", [])}
