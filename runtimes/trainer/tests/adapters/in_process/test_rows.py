"""What an exported model is compared on: a few rows of its training data, taken without disturbing it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from headrace_trainer.adapters.models import Trained
from later import Later

keras, tf = Later("keras"), Later("tensorflow")
export = Later("headrace_trainer.adapters.keras.export.servable")
keras_rows = Later("headrace_trainer.adapters.keras.fits.rows")

X = np.arange(60, dtype="float32").reshape(20, 3)
Y = np.zeros((20, 1), "float32")


@functools.cache
def halves() -> type:
    class Halves(keras.utils.PyDataset):
        """Two batches."""

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return X[10 * index : 10 * index + 10], Y[:10]

    return Halves


ADAPTERS = {
    "arrays": lambda: keras_rows.ArrayDataAdapter(X, Y, shuffle=True),
    "arrays without targets": lambda: keras_rows.ArrayDataAdapter(X),
    "a pipeline": lambda: keras_rows.TFDatasetAdapter(tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)),
    "a generator": lambda: keras_rows.GeneratorDataAdapter(iter([(X[:10], Y[:10]), (X[10:], Y[10:])])),
    "a PyDataset": lambda: keras_rows.PyDatasetAdapter(halves()()),
}


@pytest.mark.parametrize("data", ADAPTERS)
def test_the_first_rows_are_kept_of(data):
    np.testing.assert_array_equal(keras_rows.of_adapter(ADAPTERS[data]())(), X[:8])


def test_named_inputs_stay_named_and_text_stays_text():
    rows = keras_rows.of_batch(({"text": np.array(["a", "b"]), "size": X[:2]}, Y[:2]))()
    assert (rows["text"].tolist(), rows["size"].tolist()) == ([b"a", b"b"], X[:2].tolist())


def test_rows_are_copied_when_the_fit_ends():
    data = X.copy()
    rows = keras_rows.of_adapter(keras_rows.ArrayDataAdapter(data, Y))
    data[:] = -1
    np.testing.assert_array_equal(rows(), X[:8])


def test_a_pipeline_is_not_asked_before_the_export():
    pulled = []

    def rows():
        pulled.append(1)
        yield X[0], Y[0]

    signature = (tf.TensorSpec((3,)), tf.TensorSpec((1,)))
    kept = keras_rows.of_adapter(
        keras_rows.TFDatasetAdapter(tf.data.Dataset.from_generator(rows, output_signature=signature).batch(1))
    )
    assert pulled == []
    np.testing.assert_array_equal(kept(), X[:1])


@pytest.mark.parametrize(("limit", "count"), [(24, 2), (1, 1)])
def test_large_rows_are_fewer_and_never_none(monkeypatch, limit, count):
    monkeypatch.setattr(keras_rows.module(), "MAX_BYTES", limit)
    assert len(keras_rows.of_batch((X, Y))()) == count


def test_data_that_gives_no_rows_any_more_is_told_and_loses_nothing(capsys):
    class Gone(halves()):
        def __getitem__(self, index):
            raise FileNotFoundError("images.zip")

    adapter = keras_rows.PyDatasetAdapter(halves()())
    adapter.py_dataset = Gone()
    assert keras_rows.of_adapter(adapter)() is None
    assert "no rows of the training data for the check of the export: FileNotFoundError" in capsys.readouterr().err


@pytest.fixture
def doubled():
    """A model that doubles, trained on X."""
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, keras.layers.Rescaling(2.0, name="y")(inputs))
    return export.servable(Trained(model, tf.TensorSpec((None, 3)), keras_rows.of_batch(X)))


def test_a_model_is_compared_on_its_own_rows(doubled):
    [reference] = doubled.references
    np.testing.assert_array_equal(reference.inputs[0], X[:8])
    doubled.check("the copy", lambda inputs: {"y": inputs["x"] * 2})


def test_a_model_that_computes_something_else_is_refused(doubled):
    with pytest.raises(export.ExportError, match=r"the copy computes other values than Keras: y differs by"):
        doubled.check("the copy", lambda inputs: {"y": inputs["x"] * 2.01})
