"""What callbacks and the model keep beside the model's variables: put back with a checkpoint, so that a resumed run
ends as an undisturbed one, or no resume is called exact.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BEGIN = """
import collections, dataclasses, random, time
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(1)
r = np.random.RandomState(0)
x, y = r.rand(40, 4).astype("float32"), r.rand(40, 1).astype("float32")

def built():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

model = built()
model.compile(keras.optimizers.Adam(0.05), "mse")
kept, found = [], []
"""
FIT = "model.fit(x, y, batch_size=8, epochs=8, callbacks=[*kept, Slow()], verbose=0)\n"
END = "np.savez(RESULT, **{f'found-{n}': value for n, value in enumerate(found)})\n"

EMA = """
class EMA(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.teacher = keras.models.clone_model(model)
        self.teacher.set_weights(model.get_weights())
        self.seen = tf.Variable(0.0)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.assign_add(logs["loss"])
        for ours, theirs in zip(self.teacher.variables, self.model.variables):
            ours.assign(0.99 * ours + 0.01 * theirs)

ema = EMA()
kept += [ema]
FIT
found += [*ema.teacher.get_weights(), ema.seen.numpy()]
"""
# Made when the fit begins.
LATER_EMA = (
    EMA.replace("def __init__(self):\n        super().__init__()", "def on_train_begin(self, logs=None):")
    .replace("EMA", "LaterEMA")
    .replace("ema", "later_ema")
)
TEACHERS = """
class EMAs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.teachers = {0.9: keras.models.clone_model(model), 0.99: keras.models.clone_model(model)}

    def on_train_batch_end(self, batch, logs=None):
        for decay, teacher in self.teachers.items():
            for ours, theirs in zip(teacher.variables, self.model.variables):
                ours.assign(decay * ours + (1 - decay) * theirs)

emas = EMAs()
kept += [emas]
FIT
found += [weights for teacher in emas.teachers.values() for weights in teacher.get_weights()]
"""
CONTAINERS = """
@dataclasses.dataclass
class Best:
    loss: float
    epoch: int

class Meter:
    def __init__(self):
        self.total, self.counts = 0.0, collections.Counter()

    def add(self, loss):
        self.total += loss
        self.counts[round(loss, 1)] += 1

losses = []

class Smooth(keras.callbacks.Callback):
    classes = []

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.last = collections.deque(maxlen=4)
        self.steps = collections.defaultdict(list)
        self.epochs, self.all = set(), collections.OrderedDict()
        self.best, self.bests = Best(9.0, -1), []
        self.tensor = tf.constant(0.0)
        self.meter = Meter()
        self.random, self.numpy = random.Random(1), np.random.default_rng(1)
        self.drawn = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps[batch % 2].append(logs["loss"])
        self.meter.add(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.last.append(logs["loss"])
        self.seen.append(logs["loss"])
        self.classes.append(epoch)
        self.epochs.add(epoch)
        self.all[epoch] = np.float32(logs["loss"])
        self.tensor = self.tensor + logs["loss"]
        self.drawn.append((self.random.random(), self.numpy.random()))
        if logs["loss"] < self.best.loss:
            self.best.loss, self.best.epoch = logs["loss"], epoch
            self.bests.append(Best(logs["loss"], epoch))
        if len(self.last) == 4:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * 0.5
            self.last.clear()

smooth = Smooth(losses)
kept += [smooth]
FIT
found += [
    losses, list(smooth.last), smooth.steps[0], smooth.steps[1], sorted(smooth.epochs), list(smooth.all.values()),
    [smooth.best.loss, smooth.best.epoch], [[one.loss, one.epoch] for one in smooth.bests], smooth.tensor.numpy(),
    smooth.meter.total, sorted(smooth.meter.counts.items()), smooth.drawn, smooth.classes, *model.get_weights(),
]
"""
ATTRIBUTE = """
class Counts(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.n, self.losses_seen = keras.layers.Dense(8, "relu"), keras.layers.Dense(1), 0, []

    def call(self, x):
        return self.b(self.a(x))

    def train_step(self, data):
        x, y = data
        self.n += 1
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        if self.n % 10:
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.losses_seen.append(float(loss))
        return {"loss": loss}

model = Counts()
model.compile("adam", run_eagerly=True)
FIT
found += [model.n, list(model.losses_seen), *model.get_weights()]
"""


def written(texts: Sequence[str], script: Path) -> Path:
    """One fit with what each text keeps."""
    result = repr(str(script.with_suffix(".npz")))
    before, after = zip(*(text.split("FIT\n") for text in texts), strict=True)
    script.write_text("".join([BEGIN, *before, FIT, *after, END.replace("RESULT", result)]))
    return script


def verdict_on(start_keras: Any, script: Path) -> dict[str, Any]:
    """On the resume of a script that was killed in the middle of an epoch, after its end."""
    checkpoints = script.parent / "checkpoints"
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05)
    first.wait_until(lambda told: any(m["type"] == "checkpoint" and m["step"] > 15 and m["step"] % 5 for m in told))
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_keras(script, resume_dir=max(checkpoints.glob("ckpt-*")))
    assert second.wait() == 0, second.stderr[-3000:]
    verdict: dict[str, Any] = second.of_type("resume")[-1]
    return verdict


def ends(
    start_keras: Any, texts: Sequence[str], tmp_path: Path
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The verdict on a resume, what the resumed run has found, and what an undisturbed one finds."""
    whole, resumed = (written(texts, tmp_path / name) for name in ("whole.py", "resumed.py"))
    undisturbed = start_keras(whole)
    assert undisturbed.wait() == 0, undisturbed.stderr[-3000:]
    verdict = verdict_on(start_keras, resumed)
    found: list[dict[str, Any]] = []
    for script in (resumed, whole):
        with np.load(script.with_suffix(".npz")) as file:
            found.append({name: file[name] for name in file.files})
    return verdict, found[0], found[1]


@pytest.mark.parametrize(
    "texts",
    [[EMA, LATER_EMA, TEACHERS, CONTAINERS], [ATTRIBUTE]],
    ids=["models, and containers", "the model's own"],
)
def test_what_hangs_on_callbacks_and_on_the_model_is_put_back(texts, start_keras, tmp_path):
    verdict, found, expected = ends(start_keras, texts, tmp_path)
    assert verdict["exact"] is True, verdict
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6)


GLOBAL = """
best = {"loss": 1e9}

def keep(epoch, logs):
    if logs["loss"] < best["loss"]:
        best.update(loss=logs["loss"], weights=model.get_weights())

kept += [keras.callbacks.LambdaCallback(on_epoch_end=keep)]
FIT
"""
NONLOCAL = """
def counting():
    count = 0
    def keep(epoch, logs):
        nonlocal count
        count += 1
    return keep

kept += [keras.callbacks.LambdaCallback(on_epoch_end=counting())]
FIT
"""
GLOBAL_MODEL = """
teacher = keras.models.clone_model(model)

class EMA(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        for ours, theirs in zip(teacher.variables, model.variables):
            ours.assign(0.99 * ours + 0.01 * theirs)

kept += [EMA()]
FIT
"""
FILE = """
class Writes(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.file = open("losses.txt", "w")

    def on_epoch_end(self, epoch, logs=None):
        self.file.write(f"{logs['loss']}")

kept += [Writes()]
FIT
"""
TRACED = """
class Weighs(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.weight = keras.layers.Dense(1), 1.0

    def call(self, x):
        return self.a(x) * self.weight

class Changes(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.weight = 1.0 + epoch * 1e-12

model = Weighs()
model.compile("sgd", "mse")
kept += [Changes()]
FIT
"""
PHASES = """
class Phases(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.phase = self.first

    def first(self):
        self.phase = self.second

    def second(self):
        pass

    def on_epoch_end(self, epoch, logs=None):
        self.phase()

kept += [Phases()]
FIT
"""
SKIPPED = """
best = []
model.fit(x, y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: best.append(1))])
FIT
"""
COMPILED = """
counter = tf.Variable(0.0)

@tf.function
def count_up():
    counter.assign_add(1.0)

class CountsUp(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        count_up()

kept += [CountsUp()]
FIT
"""
TABLE = """
import functools

class State:
    epochs = 0

state = State()

@functools.lru_cache
def now():
    return state

def count():
    now().epochs += 1

HANDLERS = {"count": count}

class Counts(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        HANDLERS["count"]()

kept += [Counts()]
FIT
"""
MODULE = """
import pathlib, sys
pathlib.Path("helper.py").write_text("seen = []")
sys.path.insert(0, ".")
import helper

class Records(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        helper.seen.append(epoch)

kept += [Records()]
FIT
"""
MOST_ARRAYS = """
class Replays(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.buffer = collections.deque(np.zeros((1,)) for _ in range(10_001))

kept += [Replays()]
FIT
"""
LATE = """
class Slots:
    __slots__ = ("words",)
    def __init__(self):
        self.words = {"a": 1}

class Late(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.made = None

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.made = MADE

kept += [Late()]
FIT
"""


LATE_DATA = LATE.replace("Late", "LateData").replace("MADE", "tf.data.Dataset.range(3)")


# As many in a script as a message names.
@pytest.mark.parametrize(
    "names",
    [
        {
            "Late.made": LATE.replace("MADE", "Slots()"),
            "LateData.made": LATE_DATA,
            "best": GLOBAL,
            "count": NONLOCAL,
            "teacher": GLOBAL_MODEL,
        },
        {
            "Writes.file": FILE,
            "Phases.phase": PHASES,
            "Replays.buffer": MOST_ARRAYS,
            "counter": COMPILED,
            "state": TABLE,
        },
        {"weighs.weight": TRACED, "helper.seen": MODULE},
        {"best": SKIPPED},
    ],
    ids=[
        "objects that were made late, and what is global or around a function",
        "what is not copied, and what functions reach",
        "a part of the compiled step, and a name of another module",
        "a fit that is skipped",
    ],
)
def test_what_cannot_be_put_back_is_named_and_nothing_is_called_exact(names, start_keras, tmp_path):
    verdict = verdict_on(start_keras, written([*names.values()], tmp_path / "script.py"))
    assert verdict["exact"] is None, verdict
    named = re.search(r"; but what the script keeps in (.*) is not restored$", verdict["message"])
    assert named is not None, verdict
    assert sorted(named[1].split(", ")) == sorted(names)


ORDINARY = """
import logging, pathlib, tempfile, threading
CLASSES, CONFIG = ["a", "b"], {"every": 2}
log = logging.getLogger("mine")

class Tokenizer:
    __slots__ = ("words",)
    def __init__(self):
        self.words = {"a": 1}

class Shows(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.validation_data = (np.zeros((600, 600), "float32"), y)
        self.dataset = tf.data.Dataset.from_tensor_slices(x).batch(4)
        self.logger, self.lock, self.folder = log, threading.Lock(), pathlib.Path(tempfile.gettempdir())
        self.tokenizer, self.function = Tokenizer(), keras.losses.MeanSquaredError()
        self.sub, self.rate = keras.Sequential(model.layers[:1]), model.optimizer.learning_rate
        self.every = CONFIG["every"]

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every == 0:
            self.sub.predict(x, verbose=0)
            log.info("%s %s", CLASSES[0], len(model.layers))

kept += [
    Shows(),
    keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs, CLASSES)),
    keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True, save_best_only=True, monitor="loss"),
    keras.callbacks.CSVLogger("log.csv"), keras.callbacks.EarlyStopping("loss", restore_best_weights=True),
    keras.callbacks.ReduceLROnPlateau("loss"), keras.callbacks.TensorBoard("logs"),
    keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.99),
]
FIT
found += model.get_weights()
"""


def test_ordinary_callbacks_take_nothing_away_from_exact(start_keras, tmp_path):
    verdict, found, expected = ends(start_keras, [ORDINARY], tmp_path)
    assert verdict["exact"] is True, verdict
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6)
