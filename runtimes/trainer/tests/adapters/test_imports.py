"""Keras is followed whichever way it comes into the script; what cannot be followed ends the script at once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from script_process import PACKAGE_ROOT

from thorough import thorough

# Any order of imports leaves the collector as it was, and what they brought outside of its reach.
TRAIN = """
import gc
import numpy as np
assert gc.isenabled() and gc.get_freeze_count() > 100_000
x = np.random.rand(32, 4).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x[:, :1], batch_size=8, epochs=1)
"""

LOOKS = "import importlib.util\nimportlib.util.find_spec('keras')\n"
FAILS = (
    "import sys\nsys.modules['tensorflow'] = None\n"
    "try:\n    import keras\nexcept ImportError:\n    pass\n"
    "del sys.modules['tensorflow']\n"
)
# Each takes an interpreter of its own, and with it ten seconds of computing.
ORDERS = {
    "keras": "import keras",
    "keras-then-tensorflow": "import keras\nimport tensorflow as tf",
    "tensorflow-then-keras": "import tensorflow as tf\nimport keras",
    "attribute-of-tensorflow": "import tensorflow as tf\nkeras = tf.keras",
    "module-of-tensorflow": "from tensorflow import keras",
    "name-below-tensorflow": "from tensorflow.keras.layers import Dense\nimport tensorflow.keras as keras",
    "private-name": "from keras.src.layers import Dense\nimport keras",
    "only-looked-for": f"{LOOKS}import tensorflow\nimport keras",
    "failed-once": f"{FAILS}import keras",
    "looked-for, failed-once": f"{LOOKS}{FAILS}import keras",
}
# Of each kind one: Keras first; not at the first try, and looked for before. TensorFlow first, and that in a function,
# is a test below; the plain line is that of most scripts of tests/e2e.
IN_EVERY_RUN = {"private-name", "looked-for, failed-once"}


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.mark.parametrize("order", [order if order in IN_EVERY_RUN else thorough(order) for order in ORDERS])
def test_a_fit_is_followed_in_every_order_of_imports(order, start_child, write):
    child = start_child(write("script.py", ORDERS[order] + "\n" + TRAIN))
    assert child.wait() == 0, child.stderr[-3000:]
    assert child.of_type("trained") == [{"type": "trained", "kind": "fit", "steps": 4}]


def test_a_fit_is_followed_where_keras_is_imported_in_a_function(start_child, write):
    order = textwrap.indent(ORDERS["name-below-tensorflow"], "    ")
    body = f"def main():\n{order}\n" + textwrap.indent(TRAIN, "    ") + "\nmain()\n"
    child = start_child(write("script.py", body))
    assert child.wait() == 0, child.stderr[-3000:]
    assert child.of_type("trained") == [{"type": "trained", "kind": "fit", "steps": 4}]


@pytest.mark.thorough
def test_a_fit_is_followed_where_a_library_of_the_script_imports_tensorflow(start_child, write):
    write("library.py", "import tensorflow as tf\ndef keras_of_it():\n    return tf.keras\n")
    child = start_child(write("script.py", "import library\nkeras = library.keras_of_it()\n" + TRAIN))
    assert child.wait() == 0, child.stderr[-3000:]
    assert child.of_type("trained") == [{"type": "trained", "kind": "fit", "steps": 4}]


def test_a_loop_of_the_scripts_own_is_followed_through_tensorflow_alone(start_child, write):
    script = """
        import tensorflow as tf
        variable = tf.Variable(1.0)
        optimizer = tf.keras.optimizers.SGD(0.1)
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = variable * variable
            optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])
        """
    child = start_child(write("script.py", script))
    assert child.wait() == 0, child.stderr[-3000:]
    assert child.of_type("trained") == [{"type": "trained", "kind": "custom", "steps": 3}]


def test_the_collector_pauses_during_an_import_and_leaves_alone_what_a_large_one_brought(tmp_path):
    for name in ("small", "large", "broken"):
        (tmp_path / f"{name}.py").write_text("import gc\nassert not gc.isenabled()\nlist_of_lists = [[]]\n")
    with (tmp_path / "broken.py").open("a") as broken:
        broken.write("raise ValueError\n")
    script = """
        import gc
        from headrace_trainer.adapters.imports import AfterImport
        AfterImport(dict.fromkeys(["small", "large", "broken"], lambda: None), print, large={"large"}).install()
        import small
        assert gc.isenabled() and not gc.get_freeze_count()
        try:
            import broken
        except ValueError:
            assert gc.isenabled() and not gc.get_freeze_count()
        gc.disable()
        import large
        assert not gc.isenabled()
        assert large.list_of_lists not in gc.get_objects()
        """
    path = os.pathsep.join([str(PACKAGE_ROOT), str(tmp_path)])
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_keras_that_cannot_be_followed_ends_the_script_at_its_import(start_child, write):
    write("keras/__init__.py", "from keras import backend\n__version__ = '2.0.1'\n")
    write("keras/backend.py", "def backend():\n    return 'tensorflow'\n")
    child = start_child(
        write("script.py", "try:\n    import keras\nexcept BaseException:\n    pass\nprint('it went on')\n")
    )
    assert child.wait() == 2
    assert "it went on" not in child.stdout
    (message,) = child.of_type("refused")
    assert message["message"].startswith("keras 2.0.1 cannot be followed: ModuleNotFoundError")
    assert "the release's trainer image" in message["hint"]


LEGACY = """
class Model:
    def fit(self, *args):
        print("it trained")
    def predict(self):
        print("it predicted")
"""
OPTIMIZERS = "class Optimizer:\n    def apply_gradients(self, pairs):\n        print('it trained')\n"


@pytest.mark.parametrize("trains", ["tf_keras.Model().fit()", "tf_keras.optimizers.Optimizer().apply_gradients([])"])
def test_legacy_keras_is_refused_where_it_trains(trains, start_child, write):
    write("tf_keras/__init__.py", "from tf_keras import optimizers\n" + LEGACY)
    write("tf_keras/optimizers.py", OPTIMIZERS)
    used = f"import tf_keras\ntf_keras.Model().predict()\ntry:\n    {trains}\nexcept BaseException:\n    pass\n"
    child = start_child(write("script.py", used))
    assert child.wait() == 2
    assert child.stdout == "it predicted\n"
    (message,) = child.of_type("refused")
    assert message["message"].startswith("the script trains with tf_keras (legacy Keras 2), which is not followed")
    assert message["hint"].startswith("Train with Keras 3")
    assert "framework: Script" in message["hint"]


def test_another_backend_is_refused_where_it_trains(start_child, write):
    write("keras/__init__.py", "from keras import backend, optimizers\n" + LEGACY)
    write("keras/backend.py", "def backend():\n    return 'jax'\n")
    write("keras/optimizers.py", OPTIMIZERS)
    child = start_child(write("script.py", "import keras\nkeras.Model().predict()\nkeras.Model().fit()\n"))
    assert child.wait() == 2
    assert child.stdout == "it predicted\n"
    (message,) = child.of_type("refused")
    assert message["message"].startswith("the script trains with Keras on jax, which is not followed")
    assert "KERAS_BACKEND" in message["hint"]
    assert "framework: Script" in message["hint"]
