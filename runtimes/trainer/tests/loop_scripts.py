"""Scripts with loops of their own, started, killed, and gone on with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

HEAD = f"""
import itertools, sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[2] / "client")!r})
import keras, numpy as np, tensorflow as tf
import headrace_client

x = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")

def network(units=1):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])

def train(model, optimizer, x=x):
    time.sleep(0.03)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

model, optimizer = network(), keras.optimizers.Adam()
"""


def attempt(start_keras: Any, folder: Path, text: str, **settings: Any) -> Any:
    script = folder / "script.py"
    script.write_text(HEAD + text)
    return start_keras(script, checkpoint_dir=folder / "ck", checkpoint_interval=0.1, **settings)


def ended(child: Any) -> Any:
    assert child.wait() == 0, child.stderr[-3000:]
    return child


def killed(child: Any, fit: int, step: int) -> Path:
    """After that checkpoint, which is the newest one."""
    child.wait_until(
        lambda messages: any(m["type"] == "checkpoint" and m["fit"] == fit and m["step"] >= step for m in messages)
    )
    child.signal(signal.SIGKILL)
    child.wait()
    return Path(child.of_type("checkpoint")[-1]["dir"])
