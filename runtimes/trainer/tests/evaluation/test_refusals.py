"""What cannot be judged is said in a sentence: which file and column, what is there, and what to write. No value of a
row is in it.
"""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from headrace_common.protocol.reasons import Reason
from headrace_trainer.evaluation.refusal import Refusal

SECRET = "jane.doe@example.org"


def npz(path, **arrays):
    np.savez(path / "test.npz", **arrays)


def broken_numbers(irises):
    measures = irises["measures"].copy()
    measures[3] = np.nan
    return {"measures": measures, "label": irises["label"]}


def rows_of(irises, **others):
    return {"measures": irises["measures"], "label": irises["label"]} | others


DATA, FAILED = Reason.DATA_UNREADABLE, Reason.EVALUATION_FAILED
# What is in the file, what is asked for, the reason, and words of the message and of the hint.
CASES = {
    "no label": (lambda i: {"measures": i["measures"], "mail": np.array([SECRET] * 150)}, {}, DATA,
        "no column 'label'; it has measures, mail", "evaluate.data.label"),
    "no slice": (rows_of, {"slices": ["region"]}, DATA, "no column 'region'", "evaluate.slices"),
    "no sensitive column": (rows_of, {"sensitive": ["sex"]}, DATA, "no column 'sex'", "evaluate.sensitive"),
    "no weight": (rows_of, {"data": {"weight": "w"}}, DATA, "no column 'w'", "evaluate.data.weight"),
    "weights below 0": (lambda i: rows_of(i, w=np.r_[-1, np.ones(149)]), {"data": {"weight": "w"}}, DATA,
        "1 of 150 weights in 'w'", "not negative"),
    "no rows": (lambda i: {"measures": i["measures"][:0], "label": i["label"][:0]}, {}, DATA, "has no rows", "held"),
    "not as many": (lambda i: {"measures": i["measures"], "label": i["label"][:9]}, {}, DATA,
        "label has 9, measures has 150", "one row"),
    "labels missing": (lambda i: {"measures": i["measures"], "label": np.r_[i["label"][1:], np.nan]}, {}, DATA,
        "1 of 150 rows have no label", "truth is not known"),
    "labels of one more class": (lambda i: {"measures": i["measures"], "label": i["label"] + 1}, {}, FAILED,
        "3 classes, from 0 to 2, and the data has the labels 1, 2, 3", "from 0 on"),
    "labels that are prices": (lambda i: {"measures": i["measures"], "label": i["label"] + 0.5}, {}, DATA,
        "broken numbers", "Regression"),
    "labels that are somebody's": (
        lambda i: {"measures": i["measures"], "label": np.array([f"{n} {SECRET}" for n in range(150)])}, {}, FAILED,
        "the data has 150 labels: 150 different ones", "numbers"),
    "other texts": (lambda i: {"measures": i["measures"], "label": np.array(["a", "b"])[i["label"] % 2]}, {}, FAILED,
        "does not say what they are called, and the data has 2 labels: a, b", "numbers"),
    "NaN comes out": (broken_numbers, {}, FAILED, "not finite for 1 of the rows 1 to 150", "missing values"),
    "another width": (lambda i: {"measures": i["measures"][:, :3], "label": i["label"]}, {}, FAILED,
        "has the shape [3], and the model's input is measures (float32 [any, 4])", "evaluate.data.inputs.measures"),
    "too many columns": (lambda i: {"a": i["measures"], "b": i["weight"], "label": i["label"]}, {}, FAILED,
        "a row of a, b has the shape [5]", "taken for one"),
    "texts as numbers": (lambda i: {"measures": np.array([SECRET] * 150), "label": i["label"]}, {}, DATA,
        "'measures' has no numbers", "or set evaluate.data.inputs.measures to the columns"),
    "texts as numbers, named": (
        lambda i: {"a": np.array([SECRET] * 150), "label": i["label"]}, {"data": {"inputs": {"measures": ["a"]}}}, DATA,
        "'a' has no numbers", "leave it out of evaluate.data.inputs.measures"),
    "texts among numbers": (
        lambda i: {"a": i["measures"], "mail": np.array([SECRET] * 150), "label": i["label"]}, {}, DATA,
        "'mail' has no numbers", "or set evaluate.data.inputs.measures to the columns"),
    "an unknown input": (rows_of, {"data": {"inputs": {"image": ["measures"]}}}, FAILED,
        "no input image; its inputs are measures", "evaluate.data.inputs"),
    "an unknown output": (rows_of, {"data": {"output": "logits"}}, FAILED,
        "no output 'logits'; its outputs are species", "evaluate.data.output"),
    "an unknown class": (rows_of, {"data": {"positive": "7"}}, FAILED, "positive is '7', and the classes are 0, 1, 2",
        "evaluate.data.positive"),
    "nobody is favoured": (lambda i: rows_of(i, sex=i["sex"]), {"sensitive": ["sex"]}, FAILED, "3 classes",
        "evaluate.data.positive"),
    "a format that is not there": (rows_of, {"format": "TensorFlow", "model": "trees"}, FAILED,
        "no format TensorFlow; it has ONNX", "output.formats"),
    "another task": (lambda i: rows_of(i, label=np.stack([i["label"]] * 2, axis=1)), {"task": "TextGeneration"}, FAILED,
        "the label has 2 tokens a row", "as many as"),
    "a path outside": (rows_of, {"data": {"path": "../other.npz"}}, DATA, "leads out of the dataset", "path"),
    "no such path": (rows_of, {"data": {"path": "validation.npz"}}, DATA, "is not there; the dataset has test.npz",
        "path"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_judged_is_said(judged, irises, tmp_path, case):
    arrays, wanted, reason, message, hint = CASES[case]
    folder = tmp_path / "heldout"
    folder.mkdir()
    npz(folder, **arrays(irises))
    with pytest.raises(Refusal) as caught:
        judged(wanted.get("model", "flowers"), folder, **{k: v for k, v in wanted.items() if k != "model"})
    assert caught.value.reason is reason
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint


FILES = {
    "objects": ("test.npz", lambda path: np.savez(path, label=np.array([SECRET, None], dtype=object)),
        "has an array of Python objects", "dtype=str"),
    "no archive": ("test.npz", lambda path: path.write_bytes(SECRET.encode()), "test.npz is no .npz", "savez"),
    "cut off": ("test.parquet", lambda path: path.write_bytes(b"PAR1" + SECRET.encode()), "no readable .parquet", ""),
    "no table": ("test.csv", lambda path: path.write_text(f'a,b\n1,2\n3,"{SECRET}'), "no readable .csv", ""),
    "an empty table": ("test.csv", lambda path: path.write_text(""), "is empty", "columns' names"),
    "no JSON": ("test.jsonl", lambda path: path.write_text(f'{{"label": 1}}\n{SECRET}\n'), "no JSON in line 2", ""),
    "no object": ("test.jsonl.gz", lambda path: path.write_bytes(gzip.compress(b"[1]\n")), "no object in line 1", ""),
    "another kind": ("test.txt", lambda path: path.write_text(SECRET), "files of the kind .txt", "task: Script"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_named(judged, tmp_path, case):
    name, write, message, hint = FILES[case]
    folder = tmp_path / "heldout"
    folder.mkdir()
    write(folder / name)
    with pytest.raises(Refusal) as caught:
        judged("flowers", folder)
    assert caught.value.reason is DATA
    assert message in caught.value.message
    assert "heldout" in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint


def test_files_of_several_kinds_and_of_other_columns_do_not_go_together(judged, irises, tmp_path):
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, **{name[0]: irises["measures"], "label": irises["label"]})
    with pytest.raises(Refusal, match=r"b.npz has the columns b, label, and a.npz has a, label"):
        judged("flowers", tmp_path)
    (tmp_path / "c.csv").write_text("a\n1\n")
    with pytest.raises(Refusal, match=r"several kinds: .csv, .npz"):
        judged("flowers", tmp_path)


def test_a_baseline_that_takes_other_inputs_is_the_baselines_fault(judged, irises, tmp_path):
    npz(tmp_path, **rows_of(irises))
    with pytest.raises(Refusal) as caught:
        judged("flowers", tmp_path, baseline="prices")
    assert caught.value.reason is Reason.BASELINE_UNREADABLE
    assert caught.value.message.startswith("the baseline: ")
    assert "evaluate.baseline" in caught.value.hint


def test_a_class_that_only_the_new_model_knows_is_wrong_of_the_baseline(judged, irises, tmp_path):
    """A version from before there was a third species is compared with all the same."""
    npz(tmp_path, **rows_of(irises))
    told = judged("trees", tmp_path, baseline="early-trees")
    assert told["metrics"]["accuracy"] > 0.9
    assert told["baselineMetrics"]["accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(Refusal, match=r"labels that the model cannot give: 2; it knows 0, 1"):
        judged("early-trees", tmp_path, baseline="trees")


def test_a_class_that_only_the_baseline_knows_changes_nothing_of_the_new_model(judged, irises, tmp_path):
    """It has two classes, and is measured and compared as a model of two: by its positive one, and the Brier score of
    that.
    """
    two = irises["label"] < 2
    npz(tmp_path, **{name: values[two] for name, values in rows_of(irises, sex=irises["sex"]).items()})
    alone = judged("early-trees", tmp_path, sensitive=["sex"])
    beside = judged("early-trees", tmp_path, baseline="trees", sensitive=["sex"])
    assert beside["metrics"] == alone["metrics"]
    assert beside["fairness"][0]["metrics"] == alone["fairness"][0]["metrics"]
    assert set(beside["baselineMetrics"]) == set(alone["metrics"])
    compared = {one["metric"]: one["worseBy"] for one in beside["comparisons"] if not one["slice"]}
    assert all(isinstance(compared[name], float) for name in ("brier_score", "average_precision", "roc_auc"))


def test_the_card_says_which_class_recall_is_of(judged, irises, tmp_path):
    """The baseline knows a third class: what is measured of the two hangs on no other model."""
    two = irises["label"] < 2
    npz(tmp_path, **{name: values[two] for name, values in rows_of(irises).items()})
    for positive, averaged, cell in (
        ("0", "label=0", "| recall of label=0 |"),
        ("", "mean over classes", "| recall (mean over classes) |"),
    ):
        told = judged("early-trees", tmp_path, baseline="trees", data={"positive": positive})
        assert told["averaged"] == averaged
        assert cell in (judged.folder / "model_card.md").read_text()


def test_the_positive_class_may_be_one_that_the_baseline_lacks(judged, irises, tmp_path):
    npz(tmp_path, **rows_of(irises, sex=irises["sex"]))
    told = judged("trees", tmp_path, baseline="early-trees", sensitive=["sex"], data={"positive": "2"})
    assert told["fairness"][0]["baseline"]["demographic_parity_difference"] == 0  # it is given to nobody
