"""Makes the models that the tests of an evaluation judge, in one process: TensorFlow takes seconds to load.

    flowers       Keras, three classes by softmax, of the irises; as ONNX and as SavedModel
    flowers-2     the same flowers, trained for shorter, with logits
    prices        Keras, two inputs, a number
    words         Keras, of 7 tokens the probabilities of the next one, at each place
    spots         Keras, pictures of 8 x 8: is it brighter at the top left, or at the bottom right; both formats
    species       scikit-learn, classes that are texts, an input a column, probabilities behind a ZipMap
    trees         scikit-learn, classes that are numbers, one input, probabilities as a tensor
    early-trees   the same, from before there was a third class
    names         scikit-learn, classes without probabilities

Usage: make_models.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pandas
import tensorflow as tf
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from headrace_common.formats import FILES, FOLDERS, SIGNATURE, ModelFormat
from headrace_trainer.adapters.keras.export.formats import write
from headrace_trainer.adapters.keras.export.servable import servable
from headrace_trainer.adapters.models import Trained

COLUMNS = ("length", "width", "petal_length", "petal_width")


def flowers(folder: Path, epochs: int, activation: str | None, formats: list[ModelFormat]) -> None:
    x, y = load_iris(return_X_y=True)
    model = keras.Sequential(
        [
            keras.Input((4,), name="measures"),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(3, activation, name="species"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(x.astype("float32"), y, epochs=epochs, verbose=0)
    export(model, tf.TensorSpec((None, 4), tf.float32), folder, formats)


def prices(folder: Path) -> None:
    rooms, area = keras.Input((2,), name="rooms"), keras.Input((1,), name="area")
    joined = keras.layers.Dense(1, name="price")(keras.layers.Concatenate()([rooms, area]))
    model = keras.Model({"rooms": rooms, "area": area}, joined)
    model.layers[-1].set_weights([np.array([[1.0], [2.0], [3.0]]), np.array([0.5])])
    specs = {"rooms": tf.TensorSpec((None, 2), tf.float32), "area": tf.TensorSpec((None, 1), tf.float32)}
    export(model, specs, folder, [ModelFormat.ONNX])


def words(folder: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32", name="tokens"),
            keras.layers.Embedding(7, 4),
            keras.layers.Dense(7, "softmax", name="next"),
        ]
    )
    export(model, tf.TensorSpec((None, 5), tf.int32), folder, [ModelFormat.ONNX])


def spots(folder: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="picture"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, "softmax", name="where"),
        ]
    )
    weights = np.zeros((8, 8, 2))
    weights[:3, :3, 0] = weights[5:, 5:, 1] = 1
    model.layers[-1].set_weights([weights.reshape(64, 2), np.zeros(2)])
    spec = tf.TensorSpec((None, 8, 8, 1), tf.float32)
    export(model, spec, folder, [ModelFormat.ONNX, ModelFormat.TENSORFLOW])


def export(model: keras.Model, spec: object, folder: Path, formats: list[ModelFormat]) -> None:
    made = servable(Trained(model, (spec, None)))
    for name in formats:
        write(made, name, folder / FOLDERS[name])
    (folder / SIGNATURE).write_text(made.signature.to_json())


def scikit(folder: Path, model: object, names: tuple[str, ...], options: dict | None = None) -> None:
    x, y = load_iris(return_X_y=True)
    texts = np.array(["setosa", "versicolor", "virginica"])[y]
    if folder.name == "early-trees":
        x, y, texts = x[y < 2], y[y < 2], texts[y < 2]
    rows = pandas.DataFrame(x, columns=COLUMNS) if len(names) > 1 else x
    model.fit(rows, y if isinstance(model, RandomForestClassifier) else texts)
    types = [(name, FloatTensorType([None, 4 // len(names)])) for name in names]
    graph = to_onnx(model, initial_types=types, options={id(model): options} if options else None)
    path = folder / FILES[ModelFormat.ONNX]
    path.parent.mkdir(parents=True)
    path.write_bytes(graph.SerializeToString())


def main(root: Path) -> None:
    keras.utils.set_random_seed(1)
    for name in ("flowers", "flowers-2", "prices", "words", "spots"):
        (root / name).mkdir()
    flowers(root / "flowers", 40, "softmax", [ModelFormat.ONNX, ModelFormat.TENSORFLOW])
    flowers(root / "flowers-2", 3, None, [ModelFormat.ONNX])
    prices(root / "prices")
    words(root / "words")
    spots(root / "spots")
    columns = ColumnTransformer([("scaled", StandardScaler(), list(COLUMNS))])
    scikit(root / "species", make_pipeline(columns, LogisticRegression(max_iter=500)), COLUMNS)
    scikit(root / "trees", RandomForestClassifier(8, random_state=0), ("measures",), {"zipmap": False})
    scikit(root / "early-trees", RandomForestClassifier(8, random_state=0), ("measures",), {"zipmap": False})
    scikit(root / "names", LinearSVC(), ("measures",))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
