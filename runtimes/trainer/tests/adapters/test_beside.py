"""What the script keeps beside its models in a loop of its own: where it changes, nothing is called exact."""

from __future__ import annotations

import re

import pytest
from loop_scripts import attempt, ended, killed

from thorough import thorough

NAMES = """
counter, mean, best = tf.Variable(0.0), keras.metrics.Mean(), 1e9
data, noise = iter(tf.data.Dataset.from_tensors(x).repeat()), keras.layers.GaussianNoise(0.1)

@tf.function
def count():
    counter.assign_add(1.0)

for i in headrace_client.steps(40):
    noise(next(data), training=True)
    train(model, optimizer)
    mean.update_state(1.0)
    count()
    if i % 5 == 0:
        best = min(best, -i)
"""
OBJECTS = """
import collections, pathlib
pathlib.Path("helper.py").write_text("seen = []\\ndef see():\\n    seen.append(1)\\n")
sys.path.insert(0, ".")
import helper

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.calls = keras.layers.Dense(1), 0

    def call(self, x):
        self.calls += 1
        return self.dense(x)

class Agent:
    def __init__(self):
        self.memory = collections.deque(maxlen=100)

    def act(self):
        self.memory.append(np.ones(3))

model = Own()
model(x)

def main():
    agent, epsilon, long = Agent(), 1.0, list(range(1_000_000))

    def explore():
        nonlocal epsilon
        epsilon *= 0.9
        agent.act()
        helper.see()

    for i in headrace_client.steps(40):
        explore()
        train(model, optimizer)
        long.append(i)
        long.pop(0)

main()
"""
LOCALS = """
def main(rate=0.1):
    given = locals()
    for i in headrace_client.steps(40):
        train(model, optimizer)
    assert given == {"rate": 0.1}, given

main()
"""
ASKS = """
def train_all(start):
    best = 1e9
    for i in range(start, 40):
        train(model, optimizer)
        best = min(best, -i)
    return best

print(train_all(headrace_client.resumed_step()))
"""
KEPT_BY_WHO_ASKS = """
losses = []
start = headrace_client.resumed_step()
while start < 40:
    train(model, optimizer)
    losses.append(start)
    start += 1
print(losses)
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (NAMES, {"best", "counter", "data", "mean", "noise"}),
        (OBJECTS, {"agent", "epsilon", "long", "model", "seen"}),
        (LOCALS, {"the function main"}),
        (ASKS, {"best"}),
        (KEPT_BY_WHO_ASKS, {"losses"}),
    ],
    ids=[
        "names and variables",
        "objects, and what functions reach",
        "a function that has asked for all its names",
        "a function that is told where to begin",
        "a list of one that asks",
    ],
)
def test_what_the_script_keeps_itself_is_named_and_nothing_is_called_exact(text, names, start_keras, tmp_path):
    newest = killed(attempt(start_keras, tmp_path, text), 0, 8)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    told = second.of_type("resume")[-1]
    assert told["exact"] is None, told["message"]
    named = re.search(r"; but what the script keeps in (.*) is not restored$", told["message"])
    assert named is not None, told["message"]
    assert set(named[1].split(", ")) == names


ONCE = """
best = 1e9
for i in headrace_client.steps(60):
    train(model, optimizer)
    if i == 3:
        best = 0.0
print(best)
"""


def test_what_an_attempt_has_lost_is_said_of_those_after_it_too(start_keras, tmp_path):
    newest = killed(attempt(start_keras, tmp_path, ONCE), 0, 8)
    (tmp_path / "more").mkdir()
    newest = killed(attempt(start_keras, tmp_path / "more", ONCE, resume_dir=newest), 0, 20)
    third = ended(attempt(start_keras, tmp_path, ONCE, resume_dir=newest))
    told = third.of_type("resume")[-1]
    assert told["exact"] is None, told["message"]
    assert told["message"].endswith("what the script keeps in best is not restored")


ORDINARY = """
import argparse, dataclasses, logging

tokens = list(range(1_000_000))
log, CLASSES, RATES = logging.getLogger("mine"), ["a", "b"], {"every": 5}

@dataclasses.dataclass
class Config:
    steps: int = 40

class Trainer:
    def __init__(self, config):
        self.config, self.model, self.optimizer = config, model, optimizer
        self.loss_of = keras.losses.MeanSquaredError()
        self.data = tf.data.Dataset.from_tensor_slices(x).batch(4)
        self.teacher = network()

    @tf.function
    def step(self, batch):
        with tf.GradientTape() as tape:
            loss = self.loss_of(batch[:, :1], self.model(batch))
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables), self.model.trainable_variables)
        return loss

    def run(self, labels):
        for i in BEGIN:
            for batch in self.data:
                loss = self.step(batch)
            time.sleep(0.03)
            if i % RATES["every"] == 0:
                self.teacher.set_weights(self.model.get_weights())
                log.info("%s %s %s", CLASSES[tokens[1]], loss, labels.sum())
                headrace_client.log({"seen": float(loss)}, step=i)

batch, loss = None, 0.0
Trainer(Config()).run(x[:, 0])
"""


@pytest.mark.parametrize(
    "begin",
    ["headrace_client.steps(40)", thorough("range(headrace_client.resumed_step(), 40)")],
    ids=["steps", "resumed_step"],
)
def test_an_ordinary_loop_keeps_nothing(begin, start_keras, tmp_path):
    text = ORDINARY.replace("BEGIN", begin)
    if "resumed_step" in begin:  # it is used once in an iteration there
        text = text.replace(".batch(4)", ".batch(8)")
    newest = killed(attempt(start_keras, tmp_path, text), 0, 8)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    told = second.of_type("resume")[-1]
    assert told["exact"] is True, told["message"]
