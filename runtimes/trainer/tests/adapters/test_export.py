"""Scripts as people write them, exported: what is served, under which types, and why a format is missing.

All run in one process (export_many.py), a fork, each model is then loaded and asked by the server that would serve it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
SCRIPTS = sorted((TESTS / "scripts" / "exports").glob("*.py"))
BOTH = ["TensorFlow", "ONNX"]
SECONDS = 1500


@pytest.fixture(scope="module")
def exports(interpreter, tmp_path_factory) -> dict[str, dict]:
    """What came of each script, by its name."""
    directory = tmp_path_factory.mktemp("exports")
    more = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment, given = {**os.environ, **more}, [str(directory), *map(str, SCRIPTS)]
    servers = [TESTS.parents[2] / name for name in ("onnxruntime", "serving", "tensorflow-serving")]
    interpreter.run(TESTS / "export_many.py", given, environment, packages=servers, seconds=SECONDS)
    return {path.stem: json.loads((directory / path.stem / "result.json").read_text()) for path in SCRIPTS}


def types_of(result: dict) -> dict[str, str]:
    signature = result["signature"]
    return {tensor["name"]: tensor["datatype"] for tensor in (*signature["inputs"], *signature["outputs"])}


def shape_of(result: dict, name: str) -> list[int]:
    signature = result["signature"]
    return next(t["shape"] for t in (*signature["inputs"], *signature["outputs"]) if t["name"] == name)


@pytest.mark.parametrize(
    "script",
    [
        "house_prices",
        "rescaled_counts",
        "structured_numbers",
        "logarithm_of_features",
        "unet_free_size",
        "image_pooling_any_size",
        "custom_loop_any_size",
        "normalized_images",
        "mixed_float16",
        "mixed_float16_regression",
        "stateful_lstm",
        "stateful_gru",
        "fixed_batch",
        "list_fed_as_dict",
        "dict_of_other_names",
        "diverges_to_nan",
    ],
)
def test_an_ordinary_model_is_exported_and_served_in_both_formats(exports, script):
    result = exports[script]
    assert result.get("raised") is None
    assert (result["failed"], result["formats"], result["remark"]) == ({}, BOTH, "")
    assert result["served"].keys() == set(BOTH)


@pytest.mark.parametrize(
    ("script", "layer"),
    [
        ("text_vectorization", "layer 'text_vectorization' (TextVectorization) works on text"),
        ("text_and_numbers", "layer 'city_index' (StringLookup) works on text"),
        ("label_as_text", "layer 'label' (StringLookup) works on text"),
        ("integer_lookup", "layer 'article_index' (IntegerLookup) looks values up in a table"),
        ("mixed_bfloat16", "layer 'dense' (Dense) computes in bfloat16"),
        ("vae", "layer 'sampling' (Sampling) computes StatelessRandomNormalV2"),
        ("dropout_at_inference", "layer 'doubt' (Doubt) computes StatelessRandomUniformV2"),
    ],
)
def test_what_onnx_cannot_have_is_exported_as_saved_model_and_the_layer_is_named(exports, script, layer):
    result = exports[script]
    assert (result["formats"], list(result["failed"])) == (["TensorFlow"], ["ONNX"])
    assert layer in result["failed"]["ONNX"]
    assert result["served"].keys() == {"TensorFlow"}


@pytest.mark.parametrize(
    ("script", "types"),
    [
        ("text_vectorization", {"text": "BYTES", "sentiment": "FP32"}),
        ("label_as_text", {"input": "FP32", "label": "BYTES", "scores": "FP32"}),
        ("text_and_numbers", {"city": "BYTES", "size": "FP32", "rent": "FP32"}),
        ("list_fed_as_dict", {"numeric": "FP32", "category": "INT64", "price": "FP32"}),
        ("dict_of_other_names", {"user_id": "INT64", "a_film": "FP32", "stars": "FP32"}),
        ("mixed_float16_regression", {"sensors": "FP32", "watts": "FP16"}),
    ],
)
def test_a_type_belongs_to_a_name(exports, script, types):
    assert types_of(exports[script]) == types


@pytest.mark.parametrize(
    ("script", "name", "shape"),
    [
        ("unet_free_size", "image", [-1, -1, -1, 3]),
        ("house_prices", "house", [-1, 6]),
        ("stateful_lstm", "window", [8, 10, 4]),
        ("stateful_gru", "input", [4, 5, 2]),
        ("fixed_batch", "team", [16, 6]),
    ],
)
def test_sizes_are_free_unless_the_script_has_fixed_them(exports, script, name, shape):
    assert shape_of(exports[script], name) == shape


@pytest.mark.parametrize(("script", "output"), [("noise_of_tensorflow", "y"), ("mean_and_sample", "sample")])
def test_an_output_that_differs_from_itself_is_compared_in_shape_and_that_is_said(exports, script, output):
    result = exports[script]
    assert "TensorFlow" in result["formats"]
    assert result["remark"].startswith(f"output {output} was compared with Keras in shape only: ")
    assert "computes other values" not in str(result["failed"])


def test_a_model_that_cannot_be_called_says_so_for_each_format(exports):
    result = exports["gan_without_call"]
    assert result["formats"] == []
    assert result["failed"].keys() == set(BOTH)
    assert "Model GAN does not have a `call()` method implemented." in result["failed"]["ONNX"]
