"""Files of other libraries: what is said of them, and that the lines on the page make a model that can be added."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from headrace.adding.errors import CannotAdd
from headrace.adding.given import look

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "add-a-model.md"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.pkl", "a pickle runs code where it is opened, so nothing of Headrace opens one: in a TrainingJob of"),
        ("model.joblib", "to_onnx of skl2onnx makes ONNX"),
        ("model.ubj", "if XGBoost has saved it: in a TrainingJob of framework: Script, convert_xgboost of onnxmltools"),
        ("Model.JSON", "if XGBoost has saved it"),
        ("model.keras", "keras.saving.load_model(FILE).export(FOLDER), and add the folder"),
        ("model.pt", "torch.onnx.export makes ONNX"),
        ("model.cbm", 'model.save_model("model.onnx", format="onnx")'),
        ("model.safetensors", "it has weights and no graph"),
    ],
)
def test_a_file_of_another_library_is_refused_with_what_makes_onnx_of_it(tmp_path, name, said):
    (file := tmp_path / name).write_bytes(b"\x80\x04\x95 no protobuf")
    for path in (file, tmp_path):  # the file, and the folder that it lies in
        with pytest.raises(CannotAdd) as refused:
            look(path)
        assert said in str(refused.value)
        assert str(refused.value).endswith("docs/how-to/add-a-model.md has the lines, under `Convert it first`")
        assert str(path) in str(refused.value)


def test_a_pickle_is_not_opened(tmp_path):
    (tmp_path / "model.pkl").write_bytes(f"cos\nsystem\n(S'touch {tmp_path}/opened'\ntR.".encode())
    with pytest.raises(CannotAdd):
        look(tmp_path / "model.pkl")
    assert not (tmp_path / "opened").exists()


def converted(folder: Path, library: str, **changed: str) -> onnxruntime.InferenceSession:
    """What the page's lines with this library hand over, of the files in `folder`."""
    section = PAGE.read_text().partition("## Convert it first")[2].partition("\n## ")[0]
    [lines] = [block for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if library in block]
    for old, new in {"/data/model": str(folder), **changed}.items():
        assert old in lines
        lines = lines.replace(old, new)
    (folder / "convert.py").write_text(lines)
    (folder / "export").mkdir()
    (folder / "messages").touch()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "runtimes" / "client"),
        "HEADRACE_EXPORT_DIR": str(folder / "export"),
        "HEADRACE_MESSAGES": str(folder / "messages"),
    }
    done = subprocess.run([sys.executable, "convert.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = folder / "export" / "onnx" / "model.onnx"
    assert [file.path for file in look(path).files] == ["model.onnx"]
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def rows(*, with_gaps: bool) -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    if with_gaps:
        found[::3, 1] = np.nan
    return found


def test_the_lines_for_xgboost_make_a_classifier_with_the_same_answers(tmp_path):
    x = rows(with_gaps=True)
    y = np.nan_to_num(x[:, 1]) + x[:, 0] > 0
    model = xgboost.XGBClassifier(n_estimators=20).fit(pd.DataFrame(x, columns=list("abcd")), y)
    model.save_model(tmp_path / "model.ubj")
    _, answers = converted(tmp_path, "xgboost").run(None, {"features": x})
    assert np.allclose(answers, model.predict_proba(x), atol=1e-6)


def test_and_a_regressor_of_the_other_of_its_formats(tmp_path):
    x = rows(with_gaps=False)
    model = xgboost.XGBRegressor(n_estimators=20).fit(x, x[:, 0] * 3)
    model.save_model(tmp_path / "model.json")
    session = converted(tmp_path, "xgboost", **{"XGBClassifier": "XGBRegressor", "model.ubj": "model.json"})
    [answers] = session.run(None, {"features": x})
    assert np.allclose(answers[:, 0], model.predict(x), atol=1e-5)


def test_the_lines_for_scikit_learn_make_a_classifier_with_the_same_answers(tmp_path):
    x = rows(with_gaps=False)
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    joblib.dump(model, tmp_path / "model.joblib")
    _, answers = converted(tmp_path, "joblib").run(None, {"features": x})
    assert np.allclose(answers, model.predict_proba(x), atol=1e-5)
