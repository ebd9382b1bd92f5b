"""headrace_client in a Keras script: what the script keeps itself, and that it ends itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[3] / "client"
# A fit whose callback saves what it wants to, and goes on from it.
KEEPS_ITS_OWN = f"""
import sys, time
sys.path.insert(0, {str(CLIENT)!r})
import keras, numpy as np
import headrace_client as headrace

folder = headrace.last_checkpoint()
start = int((folder / "epoch").read_text()) if folder else 0
print("starts at", start, headrace.last_step(), headrace.resumed_step(), flush=True)

class Saves(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.1)
        if headrace.should_stop() or epoch == 2:
            time.sleep(1)
            with headrace.checkpoint(step=epoch + 1) as folder:
                (folder / "epoch").write_text(str(epoch + 1))
            print("kept", epoch + 1, flush=True)
        self.model.stop_training = headrace.should_stop()

x = np.ones((64, 3), "float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x[:, :1], epochs=start + 3 if start else 500, initial_epoch=start, verbose=0, callbacks=[Saves()])
"""


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(KEEPS_ITS_OWN)
    return path


def test_a_script_that_keeps_its_own_checkpoints_is_not_saved_beside_them_and_ends_itself(
    start_keras, script, tmp_path
):
    checkpoints = tmp_path / "checkpoints"
    pipe = tmp_path / "messages"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    first = start_keras(script, checkpoint_dir=checkpoints, checkpoint_interval=0.05, messages=pipe)
    first.wait_until(lambda messages: sum(m["type"] == "epoch" for m in messages) >= 5)
    first.signal(signal.SIGTERM)
    assert first.wait(60) == 75, first.stderr
    said = [json.loads(line) for line in os.read(reader, 1 << 16).splitlines()]
    os.close(reader)
    kept = [int(line.split()[1]) for line in first.stdout.splitlines() if line.startswith("kept")]
    assert [message["step"] for message in said] == kept
    assert len(kept) == 2
    assert not first.of_type("checkpoint")
    folders = sorted(path.name for path in checkpoints.glob("ckpt-*"))
    assert folders == [f"ckpt-{step:08d}" for step in kept]

    newest = checkpoints / folders[-1]
    second = start_keras(script, resume_dir=newest, resume_step=kept[-1], messages=pipe)
    assert second.wait() == 0, second.stderr
    assert second.stdout.splitlines()[0] == f"starts at {kept[-1]} {kept[-1]} 0"
    assert not second.of_type("resume")


def test_what_is_kept_for_a_script_is_no_checkpoint_of_its_own(start_keras, tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text(
        KEEPS_ITS_OWN.replace("folder = headrace.last_checkpoint()", "folder = None")
        .replace("headrace.last_step(), ", "")
        .replace("if headrace.should_stop() or epoch == 2", "if False")
    )
    checkpoints = tmp_path / "checkpoints"
    first = start_keras(plain, checkpoint_dir=checkpoints, checkpoint_interval=0.05, messages=tmp_path / "nobody")
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    asking = tmp_path / "asking.py"
    asking.write_text(KEEPS_ITS_OWN.replace("epochs=start + 3 if start else 500", "epochs=1"))
    newest = max(checkpoints.glob("ckpt-*"))
    second = start_keras(asking, resume_dir=newest, resume_step=7, messages=tmp_path / "nobody")
    second.wait()
    assert second.stdout.splitlines()[0] == "starts at 0 0 0"
