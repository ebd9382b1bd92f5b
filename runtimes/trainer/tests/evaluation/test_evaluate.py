"""Models that were exported, judged on files as people write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas
import pytest
from sklearn import metrics

TRAINER = Path(__file__).resolve().parents[2]
COLUMNS = ("length", "width", "petal_length", "petal_width")
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}


def spots():
    """Pictures that are bright in one corner, and some whose label is the other one."""
    random = np.random.default_rng(3)
    label = random.integers(0, 2, 60)
    pictures = random.uniform(0, 0.3, (60, 8, 8, 1)).astype("float32")
    for picture, corner in zip(pictures, label, strict=True):
        picture[slice(5, 8) if corner else slice(0, 3), slice(5, 8) if corner else slice(0, 3)] += 0.5
    label[:5] = 1 - label[:5]
    return pictures, label


def said(models, name, feed):
    session = onnxruntime.InferenceSession(str(models / name / "onnx" / "model.onnx"))
    return session.run(None, feed)[-1]


def test_a_classifier_and_its_baseline_on_all_rows_and_on_slices(judged, models, irises, tmp_path):
    np.savez(tmp_path / "test.npz", **irises)
    wanted = {"slices": ["region"], "sensitive": ["sex"], "data": {"path": "test.npz", "positive": "2"}}
    comparisons = [{"metric": "accuracy", "slice": "region=north", "confidence": 0.9}]
    told = judged("flowers", tmp_path, baseline="flowers-2", comparisons=comparisons, **wanted)

    given = said(models, "flowers", {"measures": irises["measures"]})
    assert told["samples"] == told["rows"] == 150
    assert (told["format"], told["output"]) == ("ONNX", {"name": "species", "is": "probabilities"})
    assert told["classes"] == ["0", "1", "2"]
    assert told["metrics"]["accuracy"] == pytest.approx(metrics.accuracy_score(irises["label"], given.argmax(axis=1)))
    assert told["metrics"]["log_loss"] == pytest.approx(metrics.log_loss(irises["label"], given), rel=1e-4)
    assert told["metrics"]["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(irises["label"], given, multi_class="ovr"), rel=1e-6
    )
    logits = said(models, "flowers-2", {"measures": irises["measures"]}).astype(float)
    other = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert told["baselineMetrics"]["log_loss"] == pytest.approx(metrics.log_loss(irises["label"], other), rel=1e-4)

    north = irises["region"] == "north"
    of_north = next(one for one in told["slices"] if one["slice"] == "region=north")
    assert of_north["samples"] == north.sum()
    assert of_north["metrics"]["accuracy"] == pytest.approx((given.argmax(axis=1) == irises["label"])[north].mean())
    (fair,) = told["fairness"]
    assert fair["slice"] == "sex"
    rates = [(given.argmax(axis=1) == 2)[irises["sex"] == one].mean() for one in "fm"]
    assert fair["metrics"]["demographic_parity_difference"] == pytest.approx(abs(rates[0] - rates[1]))
    assert fair["groups"]["f"]["selection_rate"] == pytest.approx(rates[0])

    compared = {(one["metric"], one["slice"]): one for one in told["comparisons"]}
    assert compared["accuracy", "region=north"]["confidence"] == 0.9
    better = compared["log_loss", ""]
    assert better["difference"] == pytest.approx(better["value"] - better["baseline"])
    assert better["low"] < better["difference"] < better["high"] < 0  # the baseline was trained for shorter
    assert better["worseBy"] < 0
    back = judged("flowers-2", tmp_path, baseline="flowers", **wanted)
    assert {one["metric"]: one["worseBy"] for one in back["comparisons"] if not one["slice"]}["log_loss"] > 0
    assert {path.name for path in judged.folder.iterdir()} == {
        "evaluation.json", "slices.csv", "model_card.md", "model_card.html", "environment.lock", "confusion_matrix.png",
        "roc.png", "precision_recall.png", "calibration.png", "slices.png",
    }  # fmt: skip


def test_the_same_rows_in_any_file_and_twice_are_the_same_numbers(judged, irises, tmp_path):
    """A scikit-learn model with an input a column, whose classes are texts: it says itself what they are called."""
    names = np.array(["setosa", "versicolor", "virginica"])[irises["label"]]
    frame = pandas.DataFrame({**dict(zip(COLUMNS, irises["measures"].T, strict=True)), "label": names})
    found = []
    for kind, write in WRITERS.items():
        (tmp_path / kind).mkdir()
        write(frame[:100], tmp_path / kind / f"part-0.{kind}")
        write(frame[100:], tmp_path / kind / f"part-1.{kind}")
        (tmp_path / kind / "_SUCCESS").touch()
        found.append(judged("species", tmp_path / kind, baseline="species"))
    assert found[0]["metrics"]["accuracy"] > 0.9
    assert found[0]["classes"] == ["setosa", "versicolor", "virginica"]
    for one in found[1:]:
        assert one["metrics"] == pytest.approx(found[0]["metrics"], rel=1e-6)
    again = judged("species", tmp_path / "csv", baseline="species")
    assert again == found[0]
    assert {one["worseBy"] for one in again["comparisons"]} == {0}
    frame.assign(zip=np.array(["01067", "1067"])[np.arange(150) % 2]).to_csv(tmp_path / "zip.csv", index=False)
    of_towns = judged("species", tmp_path / "zip.csv", slices=["zip"])
    assert [(one["slice"], one["samples"]) for one in of_towns["slices"]] == [("zip=01067", 75), ("zip=1067", 75)]


def test_classes_by_number_by_name_and_without_probabilities(judged, irises, tmp_path):
    rows = {name: irises[name] for name in ("measures", "label")}
    np.savez(tmp_path / "numbers.npz", **rows)
    numbers = judged("trees", tmp_path / "numbers.npz")
    assert numbers["output"] == {"name": "probabilities", "is": "probabilities"}
    assert numbers["metrics"]["accuracy"] > 0.9
    one_hot = {**rows, "label": np.eye(3)[rows["label"]]}
    np.savez(tmp_path / "one-hot.npz", **one_hot)
    assert judged("trees", tmp_path / "one-hot.npz")["metrics"] == numbers["metrics"]

    texts = np.array(["setosa", "versicolor", "virginica"])[rows["label"]]
    np.savez(tmp_path / "texts.npz", measures=rows["measures"], label=texts)
    labels = judged("names", tmp_path / "texts.npz", data={"output": "label"})
    assert labels["metrics"]["accuracy"] > 0.9
    assert "log_loss" not in labels["metrics"]
    assert "no probabilities" in " ".join(labels["remarks"])
    # Keras does not say what its classes are called.
    sorted_names = judged("flowers", tmp_path / "texts.npz")
    assert sorted_names["metrics"]["accuracy"] > 0.9
    assert "sorted order" in " ".join(sorted_names["remarks"])


def test_numbers_of_two_inputs_and_their_order_in_groups(judged, tmp_path):
    random = np.random.default_rng(0)
    frame = pandas.DataFrame({name: random.normal(size=200) for name in ("bed", "bath", "area")})
    exact = frame.bed + 2 * frame.bath + 3 * frame.area + 0.5
    frame["price"] = exact + random.normal(size=200)
    frame["query"], frame["relevant"] = np.arange(200) // 10, (exact > 1).astype(int)
    frame.to_parquet(tmp_path / "test.parquet")
    inputs = {"rooms": ["bed", "bath"]}  # the other one has its input's name
    of = judged("prices", tmp_path, task="Regression", data={"label": "price", "inputs": inputs})
    assert of["inputs"] == {"area": ["area"], "rooms": ["bed", "bath"]}
    assert of["metrics"]["mean_absolute_error"] == pytest.approx(np.abs(exact - frame.price).mean(), rel=1e-4)
    assert of["bias"] == pytest.approx((exact - frame.price).mean(), rel=1e-4)
    assert (judged.folder / "residuals.png").is_file()

    data = {"label": "relevant", "inputs": inputs, "group": "query"}
    ranking = judged("prices", tmp_path, baseline="prices", task="Ranking", data=data)
    assert (ranking["samples"], ranking["rows"]) == (20, 200)
    assert ranking["metrics"]["mean_reciprocal_rank"] == pytest.approx(
        (frame.relevant.groupby(frame["query"]).max() > 0).mean()
    )
    assert ranking["metrics"]["ndcg"] == ranking["metrics"]["mean_reciprocal_rank"]  # the order is the right one


def test_text_by_the_next_token_at_each_place(judged, models, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 7, (40, 6))
    label = tokens[:, 1:].copy()
    label[:, -1] = np.where(np.arange(40) % 2, label[:, -1], -1)
    np.savez(tmp_path / "test.npz", tokens=tokens[:, :5], label=label)
    told = judged("words", tmp_path, task="TextGeneration")
    given = said(models, "words", {"tokens": tokens[:, :5].astype("int32")})
    of_token = np.take_along_axis(given, np.maximum(label, 0)[..., None], axis=2)[..., 0]
    assert told["metrics"]["cross_entropy"] == pytest.approx(-np.log(of_token)[label >= 0].mean(), rel=1e-4)
    assert told["metrics"]["perplexity"] == pytest.approx(np.exp(told["metrics"]["cross_entropy"]))
    assert told["metrics"]["accuracy"] == pytest.approx((given.argmax(axis=2) == label)[label >= 0].mean())


def test_what_somebody_has_planted_is_a_text_in_the_card_and_no_row_is_anywhere(judged, irises, tmp_path):
    planted = "<script>alert(1)</script>"
    secret = "jane.doe@example.org"
    rows = {**irises, "region": np.where(irises["region"] == "north", planted, "=1+1")}
    np.savez(tmp_path / "test.npz", **rows, email=np.array([secret] * 150))
    inputs = {"measures": ["measures"]}
    about = {"job": "team-a/job", "parameters": {"note": planted}}
    card = {"intendedUse": f"![x](http://evil) {planted}", "limits": "a|b"}
    judged("flowers", tmp_path, slices=["region"], data={"inputs": inputs}, about=about, card=card)
    html, markdown = ((judged.folder / f"model_card.{kind}").read_text() for kind in ("html", "md"))
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in markdown
    assert "![x]" not in markdown
    assert r"a\|b" in markdown
    assert "'=1+1" not in markdown
    assert (judged.folder / "slices.csv").read_text().count("\n") == 4
    for path in judged.folder.iterdir():
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in json.dumps(judged.messages.kept)


def test_of_a_column_with_many_values_the_frequent_ones_and_those_of_gates_are_measured(judged, irises, tmp_path):
    user = np.r_[np.repeat(np.arange(50), 2)[:100], np.arange(100, 150)]
    np.savez(tmp_path / "test.npz", measures=irises["measures"], label=irises["label"], user=user)
    comparisons = [{"metric": "accuracy", "slice": "user=149", "confidence": 0.95}]
    told = judged("flowers", tmp_path, baseline="trees", slices=["user"], comparisons=comparisons)
    names = {one["slice"] for one in told["slices"]}
    assert len(names) == 50
    assert "user=149" in names
    assert "user=148" not in names
    (of_gate,) = (one for one in told["comparisons"] if one["slice"])
    assert (of_gate["samples"], of_gate["worseBy"]) == (1, "NaN")
    remarks = " ".join(told["remarks"])
    assert "50 are measured by themselves, and 50 rarer ones not" in remarks
    assert "No interval is told of user=149: fewer than 20 rows" in remarks
    assert next(one for one in judged.messages.kept if one["type"] == "warning")["message"] == remarks


def test_progress_is_told_of_both_models(judged, irises, tmp_path):
    np.savez(tmp_path / "test.npz", measures=irises["measures"], label=irises["label"])
    judged("flowers", tmp_path, baseline="trees")
    sent = judged.messages.kept
    assert sent[0] == {"type": "fit", "fit": 0, "epochs": 1, "stepsPerEpoch": 300, "steps": 300}
    assert [one["step"] for one in sent if one["type"] == "progress"] == [150, 300]


def test_a_saved_model_is_judged_by_tensorflow_and_is_the_same_model(judged, tmp_path):
    """In a process of its own, as the launcher starts it: TensorFlow is imported for this format alone."""
    pictures, label = spots()
    np.savez(tmp_path / "test.npz", picture=pictures, label=label)
    explain = {"method": "Auto", "samples": 6, "background": 20, "budget": 64, "values": True, "deadlineSeconds": 60}
    onnx = judged("spots", tmp_path, explain=explain)
    by_occlusion = json.loads((judged.folder / "explanations.json").read_text())
    told = json.loads((judged.folder.parent / "instructions").read_text())
    told["evaluate"]["format"] = "TensorFlow"
    results, file = judged.folder.parent / "of-tensorflow", judged.folder.parent / "told"
    results.mkdir()
    file.write_text(json.dumps({**told, "results": str(results)}))
    environment = {**os.environ, "HEADRACE_EVALUATION": str(file)}
    environment |= {"PYTHONPATH": str(TRAINER), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-m", "headrace_trainer.evaluation"],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads((results / "evaluation.json").read_text())
    assert found["format"] == "TensorFlow"
    assert found["metrics"] == pytest.approx(onnx["metrics"], rel=1e-4)

    by_gradients = json.loads((results / "explanations.json").read_text())
    assert [one["method"] for one in (by_occlusion, by_gradients)] == ["Occlusion", "IntegratedGradients"]
    for explained in (by_occlusion, by_gradients):
        assert explained["problems"] == []
        assert len(explained["rows"]) == 6
        for row in explained["rows"]:
            (of_picture,) = row["inputs"]
            heat = np.reshape(of_picture["attributions"], of_picture["shape"])[..., 0]
            assert np.reshape(of_picture["values"], (8, 8)) == pytest.approx(pictures[row["row"]][..., 0])
            # Of the corners, and as far as a patch of two reaches beyond them.
            corners = np.abs(heat[:4, :4]).sum() + np.abs(heat[4:, 4:]).sum()
            assert corners == pytest.approx(np.abs(heat).sum())
            assert row["prediction"] > 0.5
    for row in by_gradients["rows"]:
        total = sum(row["inputs"][0]["attributions"])
        assert total == pytest.approx(row["prediction"] - row["base"] - row["gap"], abs=1e-6)
        assert abs(row["gap"]) < 1e-3
    assert (results / "explanations.png").stat().st_size > 1000
