"""What is explained of a model that is judged: which rows, which columns, and what is said where something is not."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest

from headrace_common.evaluation import Task
from headrace_common.explanation import Method
from headrace_common.protocol.evaluate import EvaluationData, Explain
from headrace_trainer.evaluation import main
from headrace_trainer.evaluation.artifact import predict
from headrace_trainer.evaluation.artifact.kind import Tensor
from headrace_trainer.evaluation.artifact.outputs import Kind
from headrace_trainer.evaluation.data.table import Table
from headrace_trainer.evaluation.explaining import told
from headrace_trainer.evaluation.explaining.features import features
from headrace_trainer.evaluation.explaining.run import Explained, explained
from headrace_trainer.evaluation.explaining.sample import Why, choose
from headrace_trainer.evaluation.rows import Rows
from headrace_trainer.evaluation.said import Asking, Said
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.regression import Predicted

COLUMNS = ("length", "width", "petal_length", "petal_width")
ASKED = {"method": "Auto", "samples": 10, "background": 30, "budget": 480, "importance": True, "deadlineSeconds": 60}
SECRET = "jane.doe@example.org"
WEIGHTS = np.array([[2.0], [0.0], [-1.0]], np.float32)


class Linear:
    """Says 2a - c of the columns a, b, c, as if it had been exported."""

    format = "ONNX"
    classes = ()
    gradient = None

    def __init__(self, shape=(None, 3), dtype="float32"):
        self.inputs = (Tensor("x", dtype, shape),)
        self.outputs = (Tensor("y", "float32", (None, 1)),)
        self.batches = []

    def run(self, feed):
        self.batches.append(len(feed["x"]))
        return {"y": feed["x"].reshape(len(feed["x"]), -1)[:, :3] @ WEIGHTS}


def of_linear(artifact=None, clock=None, task=Task.REGRESSION, rows=60, whole=False, **wanted):
    """What is explained of it, and the rows."""
    artifact = artifact or Linear()
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    x = x.round() if whole else x
    truth = x @ WEIGHTS
    truth[7] += 9  # the worst mistake
    table = Table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "label": truth[:, 0]}, "dataset heldout")
    given = Rows(table, truth[:, 0], np.ones(rows), None, {}, {}, frozenset({"label"}))
    inputs = {"x": ("a", "b", "c")}
    said = Said(Predicted(truth.astype(float), (x @ WEIGHTS).astype(float), np.ones(rows)), "y", "numbers", inputs)
    asking = lambda: Asking(artifact, EvaluationData("heldout"), given, lambda asked: None)  # noqa: E731
    more = {} if clock is None else {"clock": clock}
    explain = Explain(**{"samples": 6, "background": 20, "budget": 400, **wanted})
    return explained(task, explain, asking, said, given, 3, **more), given, x


def test_a_table_s_columns_by_what_each_row_has_added_and_by_what_is_lost_without_them(judged, irises, tmp_path):
    names = np.array(["setosa", "versicolor", "virginica"])[irises["label"]]
    frame = pandas.DataFrame({**dict(zip(COLUMNS, irises["measures"].T, strict=True)), "label": names})
    frame.loc[3, "label"] = "virginica"  # a mistake of the labels is one of the model's
    frame["email"] = SECRET
    frame.to_csv(tmp_path / "test.csv", index=False)

    found = judged("species", tmp_path / "test.csv", baseline="species", explain={**ASKED, "values": True})

    whole = json.loads((judged.folder / "explanations.json").read_text())
    assert (whole["version"], whole["method"], whole["is"]) == (1, "Shapley", "probabilities")
    assert found["explanations"] == {**{k: v for k, v in whole.items() if k not in ("version", "rows")}} | {
        "rows": [row["row"] for row in whole["rows"]]
    }
    assert whole["background"] == 30
    first = next(row for row in whole["rows"] if row["why"] == "WorstMistake")
    assert (first["row"], first["class"], first["label"]) == (3, "setosa", "virginica")
    assert len(whole["rows"]) == 10
    for row in whole["rows"]:
        assert [one["columns"] for one in row["inputs"]] == [[name] for name in COLUMNS]
        assert [one["values"][0] for one in row["inputs"]] == pytest.approx(irises["measures"][row["row"]])
        total = sum(one["attributions"][0] for one in row["inputs"])
        assert total == pytest.approx(row["prediction"] - row["base"], abs=1e-5)
    importance = {one["name"]: one["mean"] for one in whole["importance"]["columns"]}
    assert whole["importance"]["metric"] == "accuracy"
    assert whole["importance"]["value"] == pytest.approx(found["metrics"]["accuracy"])
    assert min(importance["petal_length"], importance["petal_width"]) > max(importance["length"], importance["width"])
    means = {one["name"]: one["mean"] for one in whole["meanAbsolute"]}
    usual = [row for row in whole["rows"] if row["why"] == "Random"]
    assert means["petal_length"] == pytest.approx(np.mean([abs(row["inputs"][2]["attributions"][0]) for row in usual]))
    card = (judged.folder / "model_card.md").read_text()
    assert "## Explanations" in card
    assert r"| petal\_length |" in card
    for name in ("importance.png", "explanations.png"):
        assert (judged.folder / name).stat().st_size > 1000
    pages = (card, (judged.folder / "model_card.html").read_text())
    for page in pages:  # whoever may see the card has not for that the values of rows
        assert ("importance.png" in page, "explanations.png" in page) == (True, False)
    for path in judged.folder.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path
    assert not [one for one in judged.messages.kept if one["type"] == "warning" and one["subject"] == "explanations"]


def test_what_was_measured_is_there_before_anything_is_explained(judged, irises, tmp_path, monkeypatch):
    np.savez(tmp_path / "test.npz", measures=irises["measures"], label=irises["label"])

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "explained", killed)
    with pytest.raises(KeyboardInterrupt):
        judged("trees", tmp_path, explain={**ASKED, "values": True})

    found = json.loads((judged.folder / "evaluation.json").read_text())
    assert found["metrics"]["accuracy"] > 0.5
    assert "explanations" not in found


def test_without_values_no_value_of_a_row_is_in_any_artifact(judged, irises, tmp_path):
    measures = irises["measures"].copy()
    measures[:, 0] += 0.123456
    np.savez(tmp_path / "test.npz", measures=measures, label=irises["label"])

    judged("trees", tmp_path, explain={**ASKED, "values": False})

    text = (judged.folder / "explanations.json").read_text()
    assert all("values" not in one for row in json.loads(text)["rows"] for one in row["inputs"])
    assert all("label" not in row for row in json.loads(text)["rows"])
    assert "23456" not in text


def test_what_cannot_be_explained_is_said_once_and_the_model_is_judged(judged, irises, tmp_path):
    np.savez(tmp_path / "test.npz", measures=irises["measures"], label=irises["label"])
    texts = np.array(["setosa", "versicolor", "virginica"])[irises["label"]]
    np.savez(tmp_path / "texts.npz", measures=irises["measures"], label=texts)

    labels = judged("names", tmp_path / "texts.npz", explain={**ASKED, "values": True}, data={"output": "label"})

    assert "names a class and has no numbers" in labels["explanations"]["problems"][0]
    assert labels["explanations"]["rows"] == []
    assert not (judged.folder / "explanations.json").exists()
    told_of = [one for one in judged.messages.kept if one["type"] == "warning" and one["subject"] == "explanations"]
    assert [one["message"] for one in told_of] == labels["explanations"]["problems"]
    assert "names a class and has no numbers" in (judged.folder / "model_card.md").read_text()

    wrong = judged("trees", tmp_path / "test.npz", explain={**ASKED, "values": True, "target": "7"})
    assert "evaluate.explain.target is '7', and what can be explained has 0, 1, 2" in wrong["explanations"]["problems"]
    assert "importance" in wrong["explanations"]  # which needs no target


def test_of_a_linear_model_the_numbers_are_its_weights_and_the_worst_mistake_is_there():
    found, rows, x = of_linear()

    assert isinstance(found, Explained)
    assert found.problems == ()
    whole = told.as_json(found, Task.REGRESSION, rows)
    assert whole["rows"][1]["row"] == 7
    assert whole["rows"][1]["why"] == "WorstMistake"
    mean = found.model.asking.feed["x"]
    assert whole["importance"]["metric"] == "mean_absolute_error"
    columns = {one["name"]: one["mean"] for one in whole["importance"]["columns"]}
    assert columns["b"] == 0
    assert columns["a"] > columns["c"] > 0
    for row in whole["rows"]:
        (of_x,) = row["inputs"]
        assert of_x["columns"] == ["a", "b", "c"]
        assert of_x["attributions"][1] == pytest.approx(0, abs=1e-6)
        assert of_x["attributions"][0] - 2 * x[row["row"], 0] == pytest.approx(
            whole["rows"][0]["inputs"][0]["attributions"][0] - 2 * x[whole["rows"][0]["row"], 0], abs=1e-5
        )
    assert len(mean) == 60


def test_when_the_time_is_over_what_is_there_is_kept_and_the_rest_is_said():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock, artifact = Clock(), Linear()
    run = artifact.run
    artifact.run = lambda feed: (setattr(clock, "now", clock.now + 1), run(feed))[1]

    found, _, _ = of_linear(artifact, clock, deadline_seconds=20)

    # One asking of all rows and five of each column in half of the time; then three, and two of each row.
    assert len(found.importance.features) == 2
    assert 0 < found.of.rows < 6
    assert len(found.chosen) == len(found.feed["x"]) == found.of.rows
    assert "2 of 3 columns" in found.problems[0]
    assert f"evaluate.explain.deadline (20 s) was over when {found.of.rows} of 6 rows were expl" in found.problems[1]


def test_the_clock_is_looked_at_between_two_batches_of_the_importance(monkeypatch):
    """Of a large model one asking of all rows may take longer than there is time."""
    monkeypatch.setattr(predict, "batch_rows", lambda artifact, feed: 10)
    now, artifact = [0.0], Linear()
    run = artifact.run
    artifact.run = lambda feed: (now.__setitem__(0, now[0] + 1), run(feed))[1]

    found, _, _ = of_linear(artifact, lambda: now[0], rows=600, deadline_seconds=60, samples=1, background=1, budget=6)

    assert 25 < artifact.batches.count(10) <= 31
    assert found.of.rows == 1
    assert found.importance is None
    assert "0 of 3 columns" in found.problems[0]


def test_a_time_that_is_over_before_the_first_row_is_said():
    class Late:
        now = 0.0

        def __call__(self):
            self.now += 100
            return self.now

    found, _, _ = of_linear(clock=Late(), importance=False, deadline_seconds=20)

    assert found == (
        "evaluate.explain.deadline (20 s) was over before one row was explained: allow more time, or a smaller budget"
    )


def test_a_model_that_breaks_is_no_reason_to_fail():
    artifact = Linear()
    artifact.run = lambda feed: 1 / 0
    found, _, _ = of_linear(artifact)
    assert found == ("the model (ONNX) cannot compute the rows 1 to 60: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (None, "Shapley is used in place of integrated gradients: the format ONNX has no gradients."),
        (lambda *_: 1 / 0, "the artifact has no gradients: ZeroDivisionError"),
    ],
)
def test_where_there_are_no_gradients_another_method_is_used_and_that_is_said(gradient, words):
    artifact = Linear()
    artifact.gradient = gradient

    found, _, _ = of_linear(artifact, method=Method.INTEGRATED_GRADIENTS)

    assert found.of.method is Method.SHAPLEY
    assert any(words in one for one in found.remarks)


def test_a_gradient_that_is_there_is_used():
    artifact = Linear()
    artifact.gradient = lambda feed, output, target: {"x": np.tile(WEIGHTS[:, 0], (len(target), 1))}

    found, _, _ = of_linear(artifact, method=Method.INTEGRATED_GRADIENTS)

    assert found.of.method is Method.INTEGRATED_GRADIENTS
    assert found.of.gap == pytest.approx(np.zeros(6), abs=1e-4)


def test_a_model_of_a_fixed_number_of_rows_is_asked_for_as_many():
    artifact = Linear(shape=(4, 3))

    found, _, _ = of_linear(artifact, importance=False)

    assert found.of.rows == 6
    assert set(artifact.batches) == {4}


def test_a_large_input_is_beside_the_json_and_its_values_only_where_they_are_to_be_kept():
    x = np.random.default_rng(0).uniform(size=(5, 40, 40)).astype(np.float32)
    table = Table({"x": x, "label": np.zeros(5)}, "dataset heldout")
    rows = Rows(table, np.zeros(5), np.ones(5), None, {}, {}, frozenset({"label"}))
    said = Said(Predicted(np.zeros((5, 1)), np.zeros((5, 1)), np.ones(5)), "y", "numbers", {"x": ("x",)})
    for values in (True, False):
        asking = lambda: Asking(Linear((None, 40, 40)), EvaluationData("heldout"), rows, lambda asked: None)  # noqa: E731
        found = explained(Task.REGRESSION, Explain(samples=2, values=values), asking, said, rows, 1)
        whole = told.as_json(found, Task.REGRESSION, rows)
        assert whole["method"] == "Occlusion"
        assert [row["inputs"] for row in whole["rows"]] == [
            [{"name": "x", "shape": [40, 40], "file": "explanations.npz"}]
        ] * 2
        kept = told.arrays(found)
        assert set(kept) == ({"attributions/x", "values/x"} if values else {"attributions/x"})
        assert kept["attributions/x"].shape == (2, 40, 40)
        assert "Permutation importance is measured of columns of a table" in found.remarks[0]


def test_half_of_the_sample_are_the_worst_mistakes_as_far_as_there_are_some():
    truth = np.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 0])
    sure = np.array([0.9, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9])  # of what is true
    given = np.where((truth == 1)[:, None], np.stack([1 - sure, sure], 1), np.stack([sure, 1 - sure], 1))
    answers = Classified(truth, given.argmax(axis=1), given, np.ones(10), 2)

    chosen = choose(answers, 10, 6, seed=1)

    assert [one.row for one in chosen if one.why is Why.WORST_MISTAKE] == [1, 2]
    assert len({one.row for one in chosen}) == 6
    assert chosen == choose(answers, 10, 6, seed=1)
    assert chosen != choose(answers, 10, 6, seed=2)
    assert [one.why for one in chosen[:4]] == [Why.RANDOM, Why.WORST_MISTAKE] * 2
    assert len(choose(answers, 10, 50, seed=1)) == 10
    assert len(choose(answers, 10, 1, seed=1)) == 1
    numbers = Predicted(np.zeros((4, 1)), np.array([[0.0], [3.0], [1.0], [2.0]]), np.ones(4))
    assert [one.row for one in choose(numbers, 4, 4, seed=1) if one.why is Why.WORST_MISTAKE] == [1, 3]


def test_values_are_called_as_their_columns():
    def of(feed, columns):
        return [feature.name for feature in features(feed, columns)]

    assert of({"x": np.zeros((2, 3))}, {"x": ("a", "b", "c")}) == ["a", "b", "c"]
    assert of({"x": np.zeros((2, 3))}, {"x": ("measures",)}) == ["measures[0]", "measures[1]", "measures[2]"]
    assert of({"x": np.zeros((2, 3))}, {"x": ("pair", "one")}) == ["x[0]", "x[1]", "x[2]"]
    assert of({"a": np.zeros(2), "b": np.zeros((2, 1))}, {"a": ("a",), "b": ("b",)}) == ["a", "b"]
    assert of({"x": np.zeros((2, 8, 8))}, {"x": ("picture",)}) == []
    assert of({"x": np.zeros((2, 2), int)}, {"x": ("a", "b")}) == ["a", "b"]
    assert of({"x": np.zeros((2, 2), int)}, {"x": ("tokens",)}) == []  # a text of two words


def test_columns_of_whole_numbers_are_no_text():
    found, _, _ = of_linear(Linear(dtype="int64"), samples=2, whole=True)

    assert found.of.method is Method.SHAPLEY
    assert [one.name for one in found.features] == ["a", "b", "c"]


def test_a_single_number_is_of_the_second_class():
    class Sigmoid(Linear):
        def run(self, feed):
            return {"y": 1 / (1 + np.exp(-super().run(feed)["y"]))}

    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    label = np.arange(20) % 2
    rows = Rows(
        Table({"x": x, "label": label}, "dataset heldout"), label, np.ones(20), None, {}, {}, frozenset({"label"})
    )
    second = 1 / (1 + np.exp(-(x @ WEIGHTS)))
    given = np.concatenate([1 - second, second], axis=1)
    answers = Classified(label, given.argmax(axis=1), given, np.ones(20), 2)
    said = Said(answers, "y", Kind.PROBABILITIES, {"x": ("x",)}, ("no", "yes"))
    asking = lambda: Asking(Sigmoid(), EvaluationData("heldout"), rows, lambda asked: None)  # noqa: E731

    found = explained(Task.CLASSIFICATION, Explain(samples=4, target="yes"), asking, said, rows, 1)
    whole = told.as_json(found, Task.CLASSIFICATION, rows)
    refused = explained(Task.CLASSIFICATION, Explain(samples=4, target="no", importance=False), asking, said, rows, 1)

    assert {row["class"] for row in whole["rows"]} == {"yes"}
    assert refused == "evaluate.explain.target is 'no', and what can be explained has yes"
