"""Which of a script's models is meant, and what was measured on it: scripts as people write them.

All run in one process (choose_many.py), a fork; each says at its own end what it expects.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headrace_trainer.adapters.choice import Candidate, choose
from thorough import IS_WHOLE, thorough

TESTS = Path(__file__).resolve().parent
SCRIPTS = {path.stem: path for path in sorted((TESTS / "scripts" / "models").glob("*.py"))}
# It imports TensorFlow once more, and test_meant.py has one of its kind.
OF_THE_WHOLE = {"trained_by_another_process"}
SECONDS = 900
EACH = [thorough(name, id=name) if name in OF_THE_WHOLE else name for name in SCRIPTS]


@pytest.fixture(scope="module")
def results(interpreter, tmp_path_factory) -> dict[str, dict]:
    """What came of each script, by its name."""
    directory = tmp_path_factory.mktemp("models")
    scripts = [str(path) for name, path in SCRIPTS.items() if IS_WHOLE or name not in OF_THE_WHOLE]
    more = {"EXISTING_MODELS": str(directory / "existing"), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment, client = {**os.environ, **more}, TESTS.parents[2] / "client"
    given = [str(directory), *scripts]
    interpreter.run(TESTS / "choose_many.py", given, environment, packages=[client], seconds=SECONDS)
    return json.loads((directory / "results.json").read_text())


@pytest.mark.parametrize("script", EACH)
def test_the_model_that_is_meant_is_found_or_asked_for(results, script):
    result = results[script]
    assert result.get("raised") is None
    assert result["right"], result
    assert result["dropped"] == result["wantedDropped"]


@pytest.mark.parametrize("script", EACH)
def test_what_gates_judge_was_measured_on_the_weights_of_that_model(results, script):
    result = results[script]
    if result.get("valLoss") is not None:
        assert result["metrics"]["val_loss"] == pytest.approx(result["valLoss"], rel=1e-6)
    assert set(result.get("wantedUnmeasured", ())) <= set(result.get("unmeasured", ()))
    assert not set(result.get("metrics", ())) & set(result.get("unmeasured", ()))


@pytest.mark.parametrize("script", EACH)
def test_a_model_of_a_file_is_exported_with_what_the_trained_one_was_fed(results, script):
    assert results[script].get("knowsData") == results[script].get("wantedData")


def test_the_parts_of_a_model_without_call_are_named_by_where_they_hang(results):
    assert results["vae_without_call"]["candidates"] == [
        "encoder (the encoder of vae, which has no call())",
        "vae.decoder (the decoder of vae, which has no call())",
    ]
    assert results["one_network_in_a_trainer"]["reason"] == "the network of trainer, which has no call()"


def test_a_model_that_was_evaluated_and_never_trained_is_named_as_that(results):
    assert results["evaluated_and_never_trained"]["reason"] == (
        "the only trained model that the script still had; 1 more had been trained; "
        "not chosen: model (third), which was evaluated last and never trained"
    )


OF_BEFORE = "which this job did not write"


def test_a_model_that_was_there_before_is_named_as_that(results):
    assert results["an_existing_one_compared"]["reason"] == (
        "the model of the last evaluate of a trained one; "
        f"not chosen: production, loaded from production.keras, {OF_BEFORE}"
    )
    assert results["an_existing_one_only_evaluated"]["reason"] == (
        f"not chosen: model (production), loaded from production.keras, {OF_BEFORE}"
    )


def test_a_model_is_exported_as_it_was_when_the_script_named_it(results):
    assert results["named_at_its_best"]["weights"]
    assert results["named_at_its_best_in_a_loop"]["weights"]
    assert "it was trained further after that" in results["named_at_its_best"]["reason"]
    assert results["named_before_it_is_trained"]["reason"] == ""


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(name, name, "trained by fit") for name in names]


@pytest.mark.parametrize(
    ("named", "evaluated", "trained", "dropped", "chosen", "reason"),
    [
        (None, None, ["a"], 0, "a", ""),
        (None, "a", ["a"], 0, "a", ""),
        ("a", None, ["a"], 0, "a", ""),
        ("a", "b", ["a", "b"], 0, "a", "named by headrace_client.export"),
        (None, "b", ["a", "b"], 0, "b", "the model of the last evaluate; not chosen: a (trained by fit)"),
        (None, "c", ["a"], 0, "c", "the model of the last evaluate; not chosen: a (trained by fit)"),
        (None, "a", ["a"], 4, "a", "the model of the last evaluate; not chosen: 4 that the script no longer had"),
        (None, None, ["a"], 2, "a", "the only trained model that the script still had; 2 more had been trained"),
        (None, None, ["a", "b"], 0, None, ""),
        (None, None, [], 0, None, ""),
    ],
)
def test_the_rule(named, evaluated, trained, dropped, chosen, reason):
    choice = choose(named, evaluated, candidates(*trained), dropped)
    assert (choice.chosen, choice.reason) == (chosen, reason)


UNTRAINED = "not chosen: c, which was evaluated last and never trained"


@pytest.mark.parametrize(
    ("named", "evaluated", "trained", "chosen", "reason"),
    [
        (None, None, ["a"], "a", f"the only trained model; {UNTRAINED}"),
        (None, "a", ["a"], "a", f"the model of the last evaluate of a trained one; {UNTRAINED}"),
        (None, "b", ["a", "b"], "b", f"the model of the last evaluate; not chosen: a (trained by fit); {UNTRAINED}"),
        ("a", None, ["a"], "a", ""),
        (None, None, ["a", "b"], None, ""),
        (None, None, [], None, ""),
    ],
)
def test_the_rule_where_an_untrained_model_was_evaluated_last(named, evaluated, trained, chosen, reason):
    choice = choose(named, evaluated, candidates(*trained), 0, untrained="c")
    assert (choice.chosen, choice.reason) == (chosen, reason)
