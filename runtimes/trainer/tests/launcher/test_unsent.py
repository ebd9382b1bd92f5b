"""What MLflow has not taken goes with a checkpoint: the attempt that goes on from it does not measure it again."""

import json
import os
import signal

import pytest
from trainer_support import wait_until

from headrace_trainer.launcher.tracking import unsent
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.spool import Spool

TRAINS_PAST_A_CHECKPOINT = """
from standin_adapter import *
with open("pid", "w") as file:
    file.write(str(os.getpid()))
say("fit", fit=0, epochs=4, stepsPerEpoch=10)
for step in range(1, 36):
    metrics = {"loss": 1 / step, "accuracy": step / 50}
    say("step", fit=0, epoch=(step - 1) // 10, step=step, time=now(), metrics=metrics)
    if step % 10 == 0:
        metrics = {"loss": 2 / step, "val_loss": 3 / step}
        say("epoch", fit=0, epoch=(step - 1) // 10, step=step, time=now(), metrics=metrics)
    if step == 5:
        while not os.path.exists("away"):
            time.sleep(0.05)
    if step == 30:
        checkpoint(step, epoch=3)
time.sleep(600)
"""
GOES_ON = """
from standin_adapter import *
say("resume", fit=0, epoch=3, step=30, exact=None, message="")
say("fit", fit=0, epochs=4, stepsPerEpoch=10)
for step in range(31, 41):
    metrics = {"loss": 1 / step, "accuracy": step / 50}
    say("step", fit=0, epoch=3, step=step, time=now(), metrics=metrics)
say("epoch", fit=0, epoch=3, step=40, time=now(), metrics={"loss": 2 / 40, "val_loss": 3 / 40})
say("trained", kind="fit", steps=10)
"""


def kill_pod(launched):
    """As a node does that goes away."""
    launched.process.kill()
    launched.process.wait()
    os.kill(int((launched.work / "pid").read_text()), signal.SIGKILL)


def test_what_was_measured_before_a_checkpoint_outlives_the_pod_while_mlflow_is_away(launch, mlflow, mlflow_gate, s3):
    tracking = mlflow_gate.experiment("unsent", "s3://unused/mlflow")
    config = {
        "tracking": tracking,
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "checkpoint": {"uri": f"s3://{s3.bucket()}/jobs/uid", "intervalSeconds": 1, "keep": 2},
    }
    first = launch(TRAINS_PAST_A_CHECKPOINT, config=config)
    wait_until(lambda: first.progress.get("step") == 5 and "run" in first.progress, 60, "it trains")
    with mlflow_gate.shut():
        (first.work / "away").touch()
        wait_until(lambda: first.progress.get("checkpoint", {}).get("step") == 30, 60, "the checkpoint is kept")
        kill_pod(first)
    second = launch(GOES_ON, config=config, attempt=2)
    assert second.wait() == 0, second.log

    [run] = mlflow.runs(tracking["experimentId"])
    expected = {
        "loss": [(step, 1 / step) for step in range(1, 41)],
        "accuracy": [(step, step / 50) for step in range(1, 41)],
        "epoch/loss": [(step, 2 / (10 * step)) for step in range(1, 5)],
        "val_loss": [(step, 3 / (10 * step)) for step in range(1, 5)],
    }
    for key, values in expected.items():
        history = mlflow.history(run["info"]["run_id"], key)
        assert [(m["step"], m["value"]) for m in history] == [pytest.approx(value) for value in values], key


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


METRICS = [Metric("loss", 1 / n, n, n) for n in range(1, 11)]


def test_what_was_sent_does_not_go_with_a_checkpoint(spool, tmp_path):
    spool.append(METRICS)
    spool.take(spool.front(4))
    unsent.write(spool, tmp_path)
    assert unsent.read(tmp_path) == METRICS[4:]


def test_a_checkpoint_is_as_it_was_where_all_was_sent(spool, tmp_path):
    folder = tmp_path / "ckpt-00000001"
    folder.mkdir()
    unsent.write(spool, folder)
    assert list(folder.iterdir()) == []
    assert unsent.read(folder) == []


def test_what_goes_with_a_checkpoint_is_bounded_and_whole(spool, tmp_path, monkeypatch):
    spool.append(METRICS)
    monkeypatch.setattr(unsent, "MOST_BYTES", 100)
    unsent.write(spool, tmp_path)
    kept = unsent.read(tmp_path)
    assert 0 < len(kept) < len(METRICS)
    assert kept == METRICS[: len(kept)]


@pytest.mark.parametrize("line", ["", "{}", "[1]", '["loss", "x", 1, 1]', '["loss", 0.5, 1, 1.5]', "no json", "\x00"])
def test_a_line_that_is_no_metric_is_left_out(line, tmp_path):
    good = json.dumps(["loss", 0.5, 1, 2])
    (tmp_path / unsent.NAME).write_text(f"{line}\n{good}\n")
    assert unsent.read(tmp_path) == [Metric("loss", 0.5, 1, 2)]
