"""The early trial of an export: it changes nothing of the training, and tells at once what cannot be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace_trainer.adapters.trial import Waiting

AT_ONCE = {"trial_after_seconds": 0, "trial_left_seconds": 0}
ALL = "TensorFlow,ONNX,Keras"
KINDS = ["normal", "augmented", "stateful", "pipeline", "generated", "counting", "careless"]


@pytest.fixture(scope="module")
def trained(start_keras, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the same script comes to with trials and without, and the messages of the first."""
    found: dict[str, Any] = {}
    for name, more in (("tried", AT_ONCE), ("undisturbed", {})):
        directory = tmp_path_factory.mktemp(name)
        result = directory / "result.json"
        settings = {"export_dir": directory / "model", "formats": ALL, "seed": 5}
        child = start_keras("trials.py", f"--result={result}", **settings, **more)
        assert child.wait() == 3, child.stderr[-3000:]
        found[name] = json.loads(result.read_text())
        found[f"messages of {name}"] = child.of_type("exportTrial")
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_with_a_trial_is_the_one_without_bit_for_bit(kind: str, trained: dict[str, Any]) -> None:
    with_trial, without = trained["tried"][kind], trained["undisturbed"][kind]

    assert len(trained["messages of tried"]) == len(KINDS)
    for part in without:
        assert with_trial[part] == without[part], part


def test_a_short_fit_is_not_tried(trained: dict[str, Any]) -> None:
    assert trained["messages of undisturbed"] == []


def test_what_can_be_made_is_told_with_the_time_it_took(trained: dict[str, Any]) -> None:
    first = trained["messages of tried"][0]

    assert (first["model"], first["formats"], first["problems"]) == (
        "normal (traced)",
        ["TensorFlow", "ONNX", "Keras"],
        {},
    )
    assert first["seconds"] > 0


@pytest.fixture
def run(start_keras, tmp_path: Path) -> Any:
    def start(kind: str, **settings: Any) -> Any:
        given = AT_ONCE | {"export_dir": tmp_path / "model", "formats": "TensorFlow,ONNX"} | settings
        child = start_keras("trial_cases.py", f"--kind={kind}", **given)
        assert child.wait() == 0, child.stderr[-3000:]
        return child

    return start


def test_a_format_that_cannot_be_made_is_told_while_the_fit_goes_on(run) -> None:
    child = run("doubt")

    [trial] = child.of_type("exportTrial")
    assert trial["formats"] == ["TensorFlow"]
    assert "layer 'doubt' (Doubt) computes StatelessRandomUniformV2" in trial["problems"]["ONNX"]
    kinds = [message["type"] for message in child.messages]
    assert kinds.index("exportTrial") < kinds.index("fitEnd") < kinds.index("exported")


def test_whatever_a_trial_meets_does_not_end_the_training(run) -> None:
    child = run("trains-only")

    [trial] = child.of_type("exportTrial")
    assert trial["formats"] == []
    assert trial["problems"].keys() == {"TensorFlow", "ONNX"}
    assert "not built for serving" in trial["problems"]["ONNX"]
    assert child.of_type("trained")[0]["steps"] == 8


def test_of_a_model_that_cannot_be_called_its_only_part_is_tried(run) -> None:
    [trial] = run("one-part").of_type("exportTrial")

    assert (trial["model"], trial["formats"]) == ("encoder (sequential)", ["TensorFlow", "ONNX"])


def test_that_one_of_several_parts_has_to_be_named_is_told_while_the_fit_goes_on(run) -> None:
    child = run("two-parts")

    [trial] = child.of_type("exportTrial")
    assert trial["problems"]["ONNX"] == (
        "it has no call(), so one of its parts has to be named by headrace_client.export: encoder, decoder"
    )
    [ambiguous] = child.of_type("ambiguous")
    assert [(found["name"], found["formats"]) for found in ambiguous["candidates"]] == [
        ("encoder (sequential)", ["TensorFlow", "ONNX"]),
        ("model.decoder", ["TensorFlow", "ONNX"]),
    ]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("large", "its weights have 0.0 GiB"),
        ("remembers", "it changes something that is no variable, such as a lookup table"),
    ],
)
def test_what_would_cost_too_much_or_change_the_training_is_not_tried_and_that_is_said(run, kind, why) -> None:
    child = run(kind)

    assert child.of_type("exportTrial") == []
    assert f"headrace: the export of model model (sequential) is not tried early: {why}" in child.stderr


def test_a_model_is_tried_once(run) -> None:
    assert len(run("twice").of_type("exportTrial")) == 1


def test_nothing_of_a_trial_is_left_on_the_disk(run, tmp_path: Path) -> None:
    run("plain")

    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("step", "total", "now", "is_over"),
    [
        (11, 1000, 59.0, False),
        (11, 1000, 61.0, True),  # six seconds a step
        (11, 30, 61.0, False),  # two minutes are left
        (11, None, 61.0, True),
        (1, 1000, 61.0, True),
    ],
)
def test_a_fit_is_worth_a_trial_when_it_has_run_for_a_while_and_has_long_to_go(step, total, now, is_over) -> None:
    waiting = Waiting(after=60, left=300)

    assert not waiting.is_over(1, total, 0.0)
    assert waiting.is_over(step, total, now) is is_over
