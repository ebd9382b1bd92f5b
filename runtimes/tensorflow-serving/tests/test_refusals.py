"""Models that TensorFlow does not load or compute: each says what it is, and what to do about it. With real models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from headrace_serving.failures import Reason, StartError


@pytest.fixture(scope="module")
def engines():
    # Whole, before the server's parts of it: the models here are made with it.
    import tensorflow  # noqa: F401

    from headrace_tensorflow_serving import engine

    return engine


def rename_operator(message: Any, _folder: Path) -> None:
    for function in message.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "Frobnicate" if node.op == "Softsign" else node.op


def need_newer(message: Any, _folder: Path) -> None:
    versions = message.meta_graphs[0].graph_def.versions
    versions.producer = versions.min_consumer = 99_999


def tag_for_training(message: Any, _folder: Path) -> None:
    message.meta_graphs[0].meta_info_def.tags[:] = ["train"]


def lose_variables(_message: Any, folder: Path) -> None:
    shutil.rmtree(folder / "variables")


def lose_values(_message: Any, folder: Path) -> None:
    for file in (folder / "variables").glob("*.data-*"):
        file.unlink()


@pytest.mark.parametrize(
    ("edit", "reason", "told"),
    [
        (rename_operator, Reason.MODEL_UNSUPPORTED, ["'Frobnicate'"]),
        (need_newer, Reason.MODEL_UNSUPPORTED, ["version 99999", "TensorFlow 2.21.0 takes at most 2474"]),
        (tag_for_training, Reason.MODEL_UNSUPPORTED, ["train"]),
        (lose_variables, Reason.MODEL_INCOMPLETE, ["not there: variables/variables."]),
        (lose_values, Reason.MODEL_INCOMPLETE, ["not there: variables/variables.data-00000-of-00001."]),
    ],
)
def test_what_is_not_corrupt_says_what_it_is(models, engines, edit, reason, told):
    folder = models.edited(edit.__name__, edit)

    with pytest.raises(StartError) as caught:
        engines.load(folder, engines.Threads(1, 1))

    assert caught.value.reason is reason
    assert caught.value.hint
    assert [text for text in told if text not in caught.value.message] == []


def test_a_model_that_answers_nothing_is_not_served(models, engines):
    import tensorflow as tf

    from headrace_tensorflow_serving.warmup import warm_up

    def impossible(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(tf.shape(x)[0], 0)]):
            return tf.identity(x)

    engine = engines.load(models.function("impossible", impossible) / "1", engines.Threads(1, 1))

    with pytest.raises(StartError) as caught:
        warm_up(engine)

    assert caught.value.reason is Reason.MODEL_FAILS
