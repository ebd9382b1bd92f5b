"""From a script to its exported model, where Headrace has seen no step of it, or not all of its life."""

from __future__ import annotations

import signal
from pathlib import Path

from script_process import RunningChild

CLIENT = Path(__file__).resolve().parents[3] / "client"
DATA = f"""
import sys
sys.path.insert(0, {str(CLIENT)!r})
import numpy as np, headrace_client
x = np.random.RandomState(0).rand(64, 4).astype("float32")
y = x[:, :1]
def build():
    import keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
"""
BY_HAND = """
import tensorflow as tf
model = build()
for _ in range(3):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables)):
        variable.assign_sub(0.1 * gradient)
"""
IN_A_PROCESS = """
import multiprocessing
multiprocessing.set_start_method("spawn", force=True)
def train():
    model = build()
    model.fit(x, y, verbose=0)
    model.save("of_the_process.keras")
if __name__ == "__main__":
    process = multiprocessing.Process(target=train)
    process.start()
    process.join()
    import keras
    model = keras.models.load_model("of_the_process.keras")
    print(model.evaluate(x, y, verbose=0))
"""
UNREADABLE = """
import keras
class Odd(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
model = keras.Sequential([keras.Input((4,)), Odd(), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, verbose=0)
model.save("odd.keras")
del Odd, model
other = build()
other.fit(x, y, verbose=0)
headrace_client.export("odd.keras")
print("goes on")
"""
RESUMED = """
import keras
model = build()
best = keras.callbacks.ModelCheckpoint("best.keras", monitor="loss", save_best_only=True)
model.fit(x, y, epochs=2, verbose=0, callbacks=[best])
later = build()
class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        import time
        time.sleep(0.02)
later.fit(x, y, epochs=15, verbose=0, callbacks=[Slow()])
model = keras.models.load_model("best.keras")
model.evaluate(x, y, verbose=0)
"""
NAMED_IN_ITS_FIRST_EPOCH = """
import keras, time
model = build()
class Best(keras.callbacks.Callback):
    best = None
    def on_epoch_end(self, epoch, logs=None):
        if self.best is None:
            self.best = logs["val_loss"]
            headrace_client.export(self.model)
            print("named", repr(float(self.best)), flush=True)
            self.model.optimizer.learning_rate = 10.0
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.05)
model.fit(x, y, epochs=12, verbose=0, validation_data=(x, y), callbacks=[Best()])
"""


def run(start_keras, tmp_path, script, **settings):
    path = tmp_path / "script.py"
    path.write_text(DATA + script)
    return start_keras(path, export_dir=tmp_path / "export", formats="TensorFlow", **settings)


def test_a_model_that_the_script_names_is_exported_whoever_has_trained_it(start_keras, tmp_path):
    child = run(start_keras, tmp_path, BY_HAND + "headrace_client.export(model)\n")
    assert child.wait() == 0, child.stderr
    assert [(one["kind"], one["steps"]) for one in child.of_type("trained")] == [("unseen", 0)]
    assert child.of_type("exported")


def test_a_model_that_nobody_names_and_no_step_was_seen_of_is_not_exported(start_keras, tmp_path):
    child = run(start_keras, tmp_path, BY_HAND)
    assert child.wait() == 0, child.stderr
    assert not child.of_type("trained")
    assert not child.of_type("exporting")
    assert child.of_type("ended")


def test_a_model_that_another_process_of_the_script_has_trained_is_exported(start_child, tmp_path):
    child = run(start_child, tmp_path, IN_A_PROCESS)
    assert child.wait() == 0, child.stderr
    assert [one["name"] for one in child.of_type("model")] == ["model (sequential)"]
    assert "eval_loss" in child.of_type("model")[0]["metrics"]
    assert child.of_type("exported")


def test_a_file_that_no_model_can_be_made_of_is_told_at_the_end_and_the_script_goes_on(start_keras, tmp_path):
    child = run(start_keras, tmp_path, UNREADABLE)
    assert child.wait() == 0, child.stderr
    assert "goes on" in child.stdout
    (failed,) = child.of_type("exportFailed")
    assert "class Odd" in failed["message"]
    assert "register_keras_serializable" in failed["message"]
    assert not child.of_type("model")


def test_a_best_model_of_an_earlier_attempt_is_meant_after_a_resume(start_keras, tmp_path):
    settings = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 0.05}
    first = run(start_keras, tmp_path, RESUMED, **settings)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["fit"] == 1 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    second = run(start_keras, tmp_path, RESUMED, resume_dir=first.of_type("checkpoint")[-1]["dir"])
    assert second.wait() == 0, second.stderr
    (chosen,) = second.of_type("model")
    assert chosen["name"] == "model (sequential)"
    assert "not chosen" in chosen["reason"]
    assert "best.keras" not in chosen["reason"]


def test_a_model_named_at_its_best_in_an_earlier_attempt_is_exported_as_it_was_then(start_keras, tmp_path):
    settings = {"checkpoint_dir": tmp_path / "checkpoints", "checkpoint_interval": 0.05}
    first = run(start_keras, tmp_path, NAMED_IN_ITS_FIRST_EPOCH, **settings)
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["epoch"] >= 2 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    second = run(start_keras, tmp_path, NAMED_IN_ITS_FIRST_EPOCH, resume_dir=first.of_type("checkpoint")[-1]["dir"])
    assert second.wait() == 0, second.stderr
    assert "named" not in second.stdout
    (chosen,) = second.of_type("model")
    assert "named by headrace_client.export" in chosen["reason"]
    best = float(first.stdout.split("named")[1].split()[0])
    assert chosen["metrics"]["val_loss"] == best


def test_a_model_named_at_its_best_has_its_optimizer_of_then_in_a_keras_file(start_keras, interpreter, tmp_path):
    script = """
model = build()
model.fit(x, y, epochs=2, verbose=0)
headrace_client.export(model)
model.fit(x, y, epochs=3, verbose=0)
"""
    path = tmp_path / "script.py"
    path.write_text(DATA + script)
    child = start_keras(path, export_dir=tmp_path / "export", formats="Keras")
    assert child.wait() == 0, child.stderr
    loads = tmp_path / "loads.py"
    loads.write_text(
        "import keras, sys\nprint('steps', int(keras.saving.load_model(sys.argv[1]).optimizer.iterations.numpy()))"
    )
    printed = interpreter.run(loads, [str(tmp_path / "export" / "keras" / "model.keras")])
    assert printed.splitlines()[-1] == "steps 4"


def test_a_model_on_two_devices_is_named_at_its_best_too(interpreter, tmp_path):
    script = """
model = build()
history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
headrace_client.export(model)
print("named", repr(history["val_loss"][-1]), flush=True)
model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y))
"""
    (tmp_path / "script.py").write_text(DATA + script)
    settings = {"HEADRACE_STRATEGY": "Mirrored", "HEADRACE_EXPORT_DIR": str(tmp_path / "export")}
    settings |= {"HEADRACE_FORMATS": "TensorFlow", "HEADRACE_SEED": "5"}
    child = RunningChild(tmp_path / "script.py", [], tmp_path / "work", settings, interpreter, "two_devices")
    assert child.wait() == 0, child.stderr[-3000:]
    (chosen,) = child.of_type("model")
    assert chosen["metrics"]["val_loss"] == float(child.stdout.split("named")[1].split()[0])
    assert child.of_type("exported")
