"""What a script sees and how it ends: as under plain `python`, with the launcher told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def write_script(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_a_script_sees_itself_as_main(start_child, write_script):
    script = write_script(
        """
        import sys
        print(__name__, __file__ == sys.modules["__main__"].__file__, sys.argv[1:], sys.path[0])
        """
    )
    child = start_child(script, "--epochs=3", "--name=a b")
    assert child.wait() == 0
    assert child.stdout.split("\n")[0] == f"__main__ True ['--epochs=3', '--name=a b'] {script.parent}"


def test_a_script_has_the_language_that_python_gives_it(start_child, write_script):
    script = write_script(
        """
        import dataclasses

        @dataclasses.dataclass
        class Options:
            rate: float = 0.1

        print(dataclasses.fields(Options)[0].type)
        """
    )
    child = start_child(script)
    assert child.wait() == 0, child.stderr
    assert child.stdout == "<class 'float'>\n"


def test_a_script_without_tensorflow_does_not_import_it(start_child, write_script):
    child = start_child(write_script("import sys; print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"))
    assert child.wait() == 0
    assert "tensorflow" not in child.stdout
    assert "keras" not in child.stdout


def test_an_end_before_any_training_is_told_by_the_absence_of_trained(start_child, write_script, tmp_path):
    settings = {"export_dir": tmp_path / "model", "formats": "TensorFlow", "checkpoint_dir": tmp_path / "checkpoints"}
    child = start_child(write_script("import sys; sys.exit(0)"), **settings)
    assert child.wait() == 0
    assert child.messages == [{"type": "ended"}]


TEE = "class Tee:\n    def write(self, text): sys.__stdout__.write(text)\n"
ODD = {
    "a tee without flush": TEE + "sys.stdout = Tee()",
    "both streams without flush": TEE + "sys.stdout = sys.stderr = Tee()",
    "no stdout": "sys.stdout = None",
    "no stderr": "sys.stderr = None",
    "stdout closed": "sys.stdout.close()",
    "stderr closed": "sys.stderr.close()",
    "a hook that raises": "sys.excepthook = lambda *_: 1 / 0",
    "no hook": "sys.excepthook = None",
    "a hook that ends the process": "import os\nsys.excepthook = lambda *_: os._exit(1)",
}


@pytest.mark.parametrize("before", ODD.values(), ids=ODD)
def test_an_exception_is_told_whatever_the_script_has_done_to_its_streams(start_child, write_script, before):
    child = start_child(write_script(f"import sys\n{before}\nraise ValueError('cause')"))
    assert child.wait() == 1, child.stderr
    (message,) = child.of_type("exception")
    assert (message["exception"], message["message"]) == ("ValueError", "cause")
    assert "headrace_trainer" not in child.stdout + child.stderr


@pytest.mark.parametrize("before", [*ODD.values()][:6], ids=[*ODD][:6])
def test_a_script_ends_with_its_own_code_whatever_it_has_done_to_its_streams(start_child, write_script, before):
    child = start_child(write_script(f"import sys\n{before}"))
    assert child.wait() == 0, child.stderr
    child = start_child(write_script(f"import sys\n{before}\nsys.exit('no data')"))
    assert child.wait() == 1
    assert "headrace_trainer" not in child.stdout + child.stderr


@pytest.mark.parametrize(
    ("statement", "exception"),
    [
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "Odd"),
        ("error = ModuleNotFoundError('x')\nerror.name = object()\nraise error", "ModuleNotFoundError"),
        ("raise SyntaxError('x', (1, 2, 3, 4))", "SyntaxError"),
        ("error = ValueError('x')\nerror.__notes__ = 5\nraise error", "ValueError"),
    ],
    ids=["no text", "an odd name", "an odd place", "odd notes"],
)
def test_an_exception_that_cannot_be_printed_is_told(start_child, write_script, statement, exception):
    child = start_child(write_script(statement))
    assert child.wait() == 1, child.stderr
    (message,) = child.of_type("exception")
    assert (message["exception"], message["module"]) == (exception, None)
    assert exception in child.stderr
    assert "headrace_trainer" not in child.stderr


def test_a_hook_of_the_script_decides_about_the_exit_code(start_child, write_script):
    child = start_child(write_script("import sys\nsys.excepthook = lambda *_: sys.exit(5)\nraise ValueError"))
    assert child.wait() == 5
    assert child.of_type("exception")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("sys.exit(5)", 5),
        ("sys.exit('no data')", 1),
        ("sys.exit()", 0),
        ("raise SystemExit(300)", 44),
        ("raise SystemExit(2**64)", 255),
        ("sys.exit(type('Odd', (), {'__str__': lambda self: 1 / 0})())", 1),
        ("os._exit(9)", 9),
    ],
)
def test_exit_codes_pass_through(start_child, write_script, statement, code):
    child = start_child(write_script(f"import os, sys\n{statement}"))
    assert child.wait() == code


def test_an_exception_ends_with_code_1_and_a_traceback_like_pythons_own(start_child, write_script):
    script = write_script(
        """
        def load():
            return {}["corpus"]

        try:
            load()
        except KeyError as error:
            raise ValueError("shapes (3,) and (4,)") from error
        """
    )
    child = start_child(script)
    assert child.wait() == 1
    plain = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert child.stderr == plain.stderr
    (message,) = child.of_type("exception")
    assert (message["exception"], message["message"], message["module"]) == ("ValueError", "shapes (3,) and (4,)", None)
    assert message["traceback"] == plain.stderr.rstrip()


def test_a_missing_package_is_named(start_child, write_script):
    child = start_child(write_script("import a_package_that_is_nowhere.part"))
    assert child.wait() == 1
    (message,) = child.of_type("exception")
    assert (message["exception"], message["module"]) == ("ModuleNotFoundError", "a_package_that_is_nowhere")


def test_a_syntax_error_is_shown_as_python_shows_it(start_child, write_script):
    script = write_script("for\n")
    child = start_child(script)
    assert child.wait() == 1
    assert child.stderr == subprocess.run([sys.executable, script], capture_output=True, text=True, check=False).stderr


def test_random_numbers_and_the_order_of_sets_are_those_of_the_run_before(start_child, write_script):
    script = write_script(
        """
        import random
        import numpy
        print(random.random(), numpy.random.rand(), list({"one", "two", "three", "four", "five"}))
        """
    )
    outputs = []
    for seed in (1, 1, 2):
        child = start_child(script, seed=seed)
        assert child.wait() == 0
        outputs.append(child.stdout)
    assert outputs[0] == outputs[1] != outputs[2]


def test_generators_of_numpy_that_nobody_seeds_draw_the_numbers_of_the_run_before(start_child, write_script):
    script = write_script(
        """
        import pickle
        import numpy as np
        assert pickle.loads(pickle.dumps(np.random.default_rng)) is np.random.default_rng
        made = [np.random.default_rng(), np.random.default_rng(None), np.random.Generator(np.random.PCG64())]
        print([rng.random() for rng in made], np.random.RandomState().rand(), np.random.SeedSequence().entropy)
        print(np.random.default_rng(7).random())
        """
    )
    outputs = []
    for seed in (1, 1, 2):
        child = start_child(script, seed=seed)
        assert child.wait() == 0, child.stderr
        outputs.append(child.stdout.splitlines())
    assert outputs[0] == outputs[1]
    assert outputs[0][0] != outputs[2][0]
    assert outputs[0][1] == outputs[2][1] == str(np.random.default_rng(7).random())
    assert len(set(json.loads(outputs[0][0].split("]")[0] + "]"))) == 3


def test_forked_processes_do_not_draw_the_same_numbers(start_child, write_script):
    script = write_script(
        """
        import multiprocessing
        import numpy as np

        def draw():
            return np.random.default_rng().random()

        context = multiprocessing.get_context("fork")
        with context.Pool(1) as one, context.Pool(1) as other:
            print(one.apply(draw) != other.apply(draw))
        """
    )
    child = start_child(script)
    assert child.wait() == 0, child.stderr
    assert child.stdout == "True\n"


def test_a_launcher_that_is_gone_does_not_end_the_script(write_script):
    receive, send = os.pipe()
    os.close(receive)
    script = write_script("raise ValueError('the end')")
    environment = {**os.environ, "HEADRACE_CHILD_FD": str(send), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "headrace_trainer.adapters.keras", script]
    ended = subprocess.run(
        command, env=environment, pass_fds=[send], capture_output=True, text=True, check=False, timeout=60
    )
    os.close(send)
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: the end\n")
    assert "BrokenPipe" not in ended.stderr


def test_a_setting_that_cannot_be_read_is_named(start_child, write_script):
    child = start_child(write_script(""), checkpoint_interval="soon")
    assert child.wait() == 2
    assert "HEADRACE_CHECKPOINT_INTERVAL must be seconds, got 'soon'" in child.stderr


def test_train_on_batch_counts_as_training(start_keras):
    child = start_keras("train_steps.py")
    assert child.wait() == 7
    assert child.of_type("trained") == [{"type": "trained", "kind": "train_on_batch", "steps": 3}]


def test_a_custom_loop_counts_as_training_and_no_frame_of_ours_is_in_a_traceback(start_keras):
    child = start_keras("custom_loop.py")
    assert child.wait() == 1
    assert child.of_type("trained") == [{"type": "trained", "kind": "custom", "steps": 5}]
    assert "a fault of the script" in child.stderr
    assert "headrace_trainer" not in child.stderr  # the checkout may lie in a folder called headrace


def test_train_on_batch_needs_no_targets(start_keras, write_script):
    script = """
        import keras, numpy as np

        class Compresses(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = keras.layers.Dense(3)

            def call(self, x):
                x = x["features"]
                self.add_loss(keras.ops.mean((self.inner(x) - x) ** 2))
                return x

        model = Compresses()
        model.compile("adam")
        batch = {"features": np.ones((4, 3), "float32")}
        for _ in range(3):
            model.train_on_batch(batch)
        model.test_on_batch(batch)
        model.predict_on_batch(batch)
        """
    child = start_keras(write_script(script))
    assert child.wait() == 0, child.stderr
    assert child.of_type("trained") == [{"type": "trained", "kind": "train_on_batch", "steps": 3}]


def test_a_pool_of_processes_ends_at_once(start_child, write_script):
    script = """
        import multiprocessing, time

        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(abs, [-1, -2]))
            pool.apply_async(time.sleep, (60,))
            time.sleep(0.5)
            start = time.monotonic()
        print("seconds", time.monotonic() - start)
        """
    child = start_child(write_script(script))
    assert child.wait() == 0, child.stderr
    listed, seconds = child.stdout.splitlines()
    assert listed == "[1, 2]"
    assert float(seconds.removeprefix("seconds ")) < 3


def test_a_pool_in_the_middle_of_a_fit_ends_at_once(start_keras, write_script):
    script = """
        import multiprocessing, time
        import keras, numpy as np

        class Pools(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    pool.apply_async(time.sleep, (60,))
                    time.sleep(0.5)
                    start = time.monotonic()
                print("seconds", time.monotonic() - start)

        x = np.ones((8, 3), "float32")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, x[:, :1], epochs=1, verbose=0, callbacks=[Pools()])
        """
    child = start_keras(write_script(script))
    assert child.wait() == 0, child.stderr
    assert float(child.stdout.split()[-1]) < 4
    assert child.of_type("trained")


def test_a_handler_that_the_script_has_set_is_its_forks_too(start_child, write_script):
    script = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        runs, tells = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(tells, b".")  # Python drops what a handler raises before os.fork has returned
            while True:
                time.sleep(0.1)
        os.read(runs, 1)
        os.kill(pid, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    child = start_child(write_script(script))
    assert child.wait() == 0, child.stderr
    assert child.stdout == "7\n"


def test_a_generator_that_is_still_asked_does_not_keep_the_process(start_keras, tmp_path):
    child = start_keras("repeated_generator.py", f"--result={tmp_path / 'result'}", "--delay=0.05", "--epochs=2")
    assert child.wait(60) == 0, child.stderr


TRAINED = """
import os, threading, time
import keras, numpy as np
x = np.ones((32, 3), "float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
"""


def exported(start_keras, write_script, tmp_path, script):
    """The child of a script that trains, which has to end well and to export what it trained."""
    child = start_keras(write_script(TRAINED + script), export_dir=tmp_path / "model", formats="TensorFlow")
    assert child.wait(120) == 0, child.stderr
    assert [message["formats"] for message in child.of_type("exported")] == [["TensorFlow"]]
    return child


@pytest.mark.parametrize(
    ("end", "code"), [("raise SystemExit(0)", 0), ("pass", 0), ("raise ValueError", 1)], ids=["exit", "end", "error"]
)
def test_a_forked_process_ends_as_under_python(start_keras, write_script, tmp_path, end, code):
    script = f"""
model.fit(x, x[:, :1], verbose=0)
pid = os.fork()
if pid:
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
else:
    {end}
"""
    child = exported(start_keras, write_script, tmp_path, script)
    assert child.stdout == f"ended with {code}\n"
    assert len(child.of_type("trained")) == 1
    assert not child.of_type("exception")


IN_A_THREAD = {
    "thread": "threading.Thread(target=train).start()",
    "executor": "pool = concurrent.futures.ThreadPoolExecutor(); pool.submit(train)",
    "thread and idle executor": "pool = concurrent.futures.ThreadPoolExecutor(); pool.submit(int).result()\n"
    "threading.Thread(target=train).start()",
    "thread and idle processes": "import multiprocessing\n"
    "pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'))\n"
    "pool.submit(int).result(); threading.Thread(target=train).start()",
    "threads that wait for the end": "def watch():\n    while threading.main_thread().is_alive(): time.sleep(0.05)\n"
    "threading.Thread(target=watch).start()\nthreading.Thread(target=train).start()\n"
    "threading.Thread(target=threading.main_thread().join).start()",
}
TRAINS_LATER = (
    TRAINED
    + """
import concurrent.futures
def train():
    time.sleep(1)
    model.fit(x, x[:, :1], epochs=3, verbose=0)
    print("trained")
"""
)


@pytest.mark.parametrize("start", IN_A_THREAD.values(), ids=IN_A_THREAD)
def test_a_training_in_a_thread_that_outlives_the_script_is_waited_for(start_keras, write_script, tmp_path, start):
    # A process of a pool runs the script once more, without what is the main one's: Keras takes it seconds.
    script = "if __name__ == '__main__':\n" + textwrap.indent(TRAINS_LATER + start, "    ")
    child = start_keras(write_script(script), export_dir=tmp_path / "model", formats="TensorFlow")
    assert child.wait(120) == 0, child.stderr
    assert child.stdout == "trained\n"
    kinds = [message["type"] for message in child.messages]
    assert kinds.index("fitEnd") < kinds.index("trained") < kinds.index("exported")


def test_a_training_in_a_thread_that_outlives_the_script_stops_with_a_checkpoint(start_keras, write_script, tmp_path):
    script = TRAINS_LATER.replace("epochs=3", "epochs=10**6") + IN_A_THREAD["thread"]
    child = start_keras(write_script(script), checkpoint_dir=tmp_path / "kept", checkpoint_interval=1000)
    child.wait_until(lambda messages: any(message["type"] == "progress" for message in messages))
    child.signal(signal.SIGTERM)
    assert child.wait(60) == 75, child.stderr
    assert child.of_type("checkpoint")


@pytest.mark.parametrize("ends", ["caught", "exit"])
def test_a_model_whose_only_fit_was_ended_by_its_author_is_exported(ends, start_keras, write_script, tmp_path):
    script = """
        import sys
        import keras, numpy as np

        class Ends(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 2:
                    sys.exit(0) if ENDS == "exit" else self.interrupt()

            def interrupt(self):
                raise KeyboardInterrupt

        x = np.ones((80, 3), "float32")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        try:
            model.fit(x, x[:, :1], batch_size=8, epochs=5, verbose=0, callbacks=[Ends()])
        except KeyboardInterrupt:
            print("that is enough")
        """
    exported = tmp_path / "model"
    settings = {"export_dir": exported, "formats": "TensorFlow"}
    child = start_keras(write_script(script.replace("ENDS", repr(ends))), **settings)
    assert child.wait() == 0, child.stderr
    assert child.of_type("trained") == [{"type": "trained", "kind": "fit", "steps": 3}]
    [told] = child.of_type("exported")
    assert told["formats"] == ["TensorFlow"]


def test_a_script_that_goes_on_after_an_interrupted_fit_exports_its_model(start_keras, tmp_path):
    here = Path(__file__).resolve().parent
    for path in (here / "model_data.py", here / "scripts" / "models" / "interrupted_by_its_author.py"):
        (tmp_path / path.name).write_text(path.read_text())
    settings = {"export_dir": tmp_path / "model", "formats": "TensorFlow"}
    child = start_keras(tmp_path / "interrupted_by_its_author.py", **settings)
    assert child.wait() == 0, child.stderr
    assert child.stdout.endswith("that is enough\n")
    assert child.of_type("exported")
    assert child.of_type("model")[0]["metrics"]["val_loss"] > 0


def test_of_two_fits_in_threads_both_models_are_named(start_keras, write_script, tmp_path):
    script = """
        import threading
        import keras, numpy as np

        x = np.ones((80, 3), "float32")
        both_train = threading.Barrier(2)

        class Meets(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                both_train.wait(60)

        def build(name):
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name=name)
            model.compile("adam", "mse")
            return model

        def train(model):
            data = {"x": x, "y": x[:, :1], "validation_data": (x, x[:, :1])}
            model.fit(**data, batch_size=8, epochs=2, verbose=0, callbacks=[Meets()])

        models = [build("one"), build("other")]
        threads = [threading.Thread(target=train, args=[model]) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    settings = {"export_dir": tmp_path / "model", "formats": "TensorFlow", "checkpoint_dir": tmp_path / "checkpoints"}
    child = start_keras(write_script(script), checkpoint_interval=0.01, **settings)
    assert child.wait() == 0, child.stderr
    [told] = child.of_type("ambiguous")
    assert {candidate["name"] for candidate in told["candidates"]} == {"one", "other"}
    assert child.of_type("trained") == [{"type": "trained", "kind": "fit", "steps": 40}]
    assert [m["subject"] for m in child.of_type("warning")] == ["fit"]
    assert child.of_type("checkpoint") == []
    assert child.of_type("evaluate") == []
