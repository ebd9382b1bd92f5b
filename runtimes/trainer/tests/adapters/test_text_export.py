"""Decoders exported as text: with a cache where each step computes what the model does, without one where not, and why
there is none at all. All run in one process (text_many.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AT_ONCE = {"trial_after_seconds": 0, "trial_left_seconds": 0}
TESTS = Path(__file__).resolve().parent
CLIENT = TESTS.parents[2] / "client"
SECONDS = 1500
CACHED = ["trained", "subclassed", "grouped", "fixed_length", "weights_beside"]
PLAIN = {
    "sinusoids": (
        "without a cache, so that each token reads the whole text again: step by step it computes other logits",
        "the first layer that differs is",
        "embedding' (Embedding)",
    ),
    "looks_back_a_little": (
        "step by step it computes other logits",
        "attention_output' (EinsumDense), by what goes in",
    ),
    "by_hand": ("it has no attention layer of Keras' own", "attention written by hand keeps nothing"),
}
REFUSED = {
    "no_tokenizer": (
        "the script does not say which tokenizer it has: save it as tokenizer.json and call "
        'headrace_client.text(model, "tokenizer.json"), best before the model is trained'
    ),
    "larger_tokenizer": (
        "its tokenizer has 41 tokens, and the model knows 40: name the tokenizer that it was trained with, or make the "
        "model's vocabulary as large"
    ),
    "unknown_eos": "eos_token is '<nowhere>', which is no token of its tokenizer.json: add it as a special token",
    "no_decoder": (
        "Text is made of a model from whole numbers (batch, length) to logits or probabilities "
        "(batch, length, vocabulary); this one has input float32 [?, 8], dense float32 [?, 40]"
    ),
    "another_model": "which shares no weights with it: name one of them by headrace_client.export(model)",
    "too_long": "context is 100, and the model has 24 positions",
}


@pytest.fixture(scope="module")
def exports(interpreter, tmp_path_factory) -> dict[str, dict]:
    """What came of each case, by its name."""
    directory = tmp_path_factory.mktemp("texts")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    cases = [*CACHED, *PLAIN, *REFUSED]
    given = [str(directory), str(TESTS / "scripts" / "decoders.py"), *cases]
    interpreter.run(TESTS / "text_many.py", given, environment, packages=[CLIENT], seconds=SECONDS)
    return {case: json.loads((directory / case / "result.json").read_text()) for case in cases}


@pytest.mark.parametrize("case", [*CACHED, *PLAIN])
def test_the_graph_writes_on_as_keras_own_loop_does(exports, case):
    result = exports[case]
    assert result.get("raised") is None
    assert (result["failed"], result["formats"]) == ({}, ["Text"])
    assert result["graph"] == result["keras"]


@pytest.mark.parametrize("case", CACHED)
def test_a_decoder_of_keras_own_attention_has_a_cache(exports, case):
    result = exports[case]
    assert result["warnings"] == {}
    model = result["config"]["model"]
    assert model["decoder"]["inputs"]["past_key_names"] == "past_key_values.%d.key"
    assert model["decoder"]["inputs"]["position_ids"] == "position_ids"
    assert model["context_length"] == (16 if case == "fixed_length" else 24)


@pytest.mark.parametrize("case", PLAIN)
def test_one_that_a_cache_would_change_has_none_and_the_run_says_why(exports, case):
    result = exports[case]
    assert set(result["warnings"]) == {"text"}
    for part in PLAIN[case]:
        assert part in result["warnings"]["text"]
    inputs = result["config"]["model"]["decoder"]["inputs"]
    assert inputs == {"input_ids": "input_ids"}


def test_the_folder_has_the_tokenizer_and_its_special_tokens(exports):
    result = exports["trained"]
    assert result["files"] == ["genai_config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"]
    assert result["tokenizer"] == {"eos_token": "t1", "chat_template": "{{ messages }}"}
    model = result["config"]["model"]
    assert (model["eos_token_id"], model["vocab_size"]) == (1, 40)


def test_the_weights_of_a_large_one_lie_beside_its_graph(exports):
    assert "model.onnx.data" in exports["weights_beside"]["files"]


@pytest.mark.parametrize("case", REFUSED)
def test_what_stands_in_the_way_of_text_is_told(exports, case):
    result = exports[case]
    assert result.get("raised") is None
    assert result["formats"] == []
    assert REFUSED[case] in result["failed"]["Text"]


@pytest.fixture
def run(start_keras, tmp_path) -> Callable[..., Any]:
    """A case as a job runs it."""

    def start(case: str, **settings: Any) -> Any:
        script = tmp_path / "train.py"
        found = f"import sys\nsys.path.insert(0, {str(CLIENT)!r})\n"
        script.write_text(found + (TESTS / "scripts" / "decoders.py").read_text())
        child = start_keras(script, f"--case={case}", seed=5, **settings)
        assert child.wait() == 0, child.stderr[-3000:]
        return child

    return start


def test_an_early_trial_says_that_there_will_be_no_cache_and_changes_nothing_of_the_training(run, tmp_path):
    tried = run("sinusoids", export_dir=tmp_path / "model", formats="Text", **AT_ONCE)
    undisturbed = run("sinusoids")

    [trial] = tried.of_type("exportTrial")
    assert (trial["formats"], trial["problems"]) == (["Text"], {})
    assert "will be exported as Text without a cache" in tried.stdout + tried.stderr
    weights = [
        [line for line in child.stdout.splitlines() if line.startswith("weights")] for child in (tried, undisturbed)
    ]
    assert weights[0] == weights[1] != []
