"""What the run keeps beside its model: the source, the packages, and what the script leaves in `outputs`."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from trainer_support import wait_until

from headrace_trainer.launcher.settings import Paths
from headrace_trainer.launcher.store.s3 import Patience
from headrace_trainer.launcher.tracking import artifacts, files

LEAVES = """
from standin_adapter import *
import pathlib
train(1)
pathlib.Path("outputs/deep").mkdir()
pathlib.Path("outputs/deep/table.csv").write_text("a,b")
(pathlib.Path(os.environ["HEADRACE_OUTPUTS_DIR"]) / "plot of ä.png").write_bytes(b"png")
os.symlink("/etc/passwd", "outputs/passwd")
"""


@pytest.fixture
def tracked(s3, mlflow):
    bucket = s3.bucket()
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    return bucket, {"storage": storage, "tracking": mlflow.experiment("artifacts", f"s3://{bucket}/mlflow")}


def kept(s3, bucket) -> dict[str, bytes]:
    """The run's artifacts by their names."""
    keys = s3.keys(bucket, "mlflow/")
    return {key.split("/artifacts/")[1]: s3.get(bucket, key) for key in keys}


@pytest.mark.parametrize("end", ["", "raise ValueError('at its end')", "os.kill(os.getpid(), 9)"])
def test_they_are_kept_whatever_the_script_ended_with(launch, s3, mlflow, tracked, end):
    bucket, config = tracked
    launched = launch(LEAVES + end, config=config)
    launched.wait()

    found = kept(s3, bucket)

    environment = found.pop("environment.txt").decode().splitlines()
    assert found == {
        "source/train.py": (LEAVES + end).encode(),
        "outputs/deep/table.csv": b"a,b",
        "outputs/plot of ä.png": b"png",
    }
    assert any(line.startswith("boto3==") for line in environment)


def test_a_preempted_attempt_leaves_them_and_the_next_one_adds_its_own(launch, s3, mlflow, tracked):
    bucket, config = tracked
    first = launch(f"{LEAVES}\ntime.sleep(600)", config=config)
    wait_until(lambda: (first.work / "outputs" / "passwd").is_symlink(), 60, "the script has left its files")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 6, first.log
    second = launch(
        "from standin_adapter import *\ntrain(1)\nopen('outputs/second', 'w').close()", config=config, attempt=2
    )
    assert second.wait() == 0, second.log

    outputs = {name for name in kept(s3, bucket) if name.startswith("outputs/")}

    assert outputs == {"outputs/deep/table.csv", "outputs/plot of ä.png", "outputs/second"}


def test_what_is_over_the_bounds_is_told_and_fails_nothing(launch, s3, mlflow, tracked):
    bucket, config = tracked
    script = """
from standin_adapter import *
train(1)
for number in range(1003):
    open(f"outputs/{number:04}", "w").close()
"""
    launched = launch(script, config=config)
    assert launched.wait(120) == 0, launched.log

    for number in (0, 999):
        [key] = s3.keys(bucket, f"mlflow/{launched.record['run']['id']}/artifacts/outputs/{number:04}")
        assert s3.get(bucket, key) == b""
    assert s3.keys(bucket, f"mlflow/{launched.record['run']['id']}/artifacts/outputs/1000") == []
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    told = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.warning.artifacts"]
    assert told == "outputs: 3 files are left out, more than 1000 files of 1024 MiB in all: 1000, 1001, 1002"


def test_a_name_that_the_store_cannot_have_is_left_out_and_told(launch, s3, mlflow, tracked):
    bucket, config = tracked
    script = """
from standin_adapter import *
train(1)
open(b"outputs/caf\\xe9.txt", "w").close()
open("outputs/fine.txt", "w").close()
deep = "outputs/" + "/".join(["d" * 200] * 6)
os.makedirs(deep)
open(deep + "/x", "w").close()
"""
    launched = launch(script, config=config, files={os.fsdecode(b"d\xe9.csv"): "x"})
    assert launched.wait(120) == 0, launched.log

    assert {name for name in kept(s3, bucket) if not name.startswith("env")} == {"source/train.py", "outputs/fine.txt"}
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    told = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.warning.artifacts"]
    why = "files are left out, of names that are not UTF-8, or longer than 1024 bytes"
    assert told.startswith(f"source: 1 {why}: d\\xe9.csv; outputs: 2 {why}: caf\\xe9.txt, ddd")


@pytest.mark.parametrize(("entrypoint", "kept"), [("", None), ("train.py", "source")])
def test_the_source_is_kept_where_a_script_of_it_ran(monkeypatch, tmp_path, entrypoint, kept):
    """Tables that are declared, and what evaluates without a script, run none: it is the training's."""
    asked = []
    monkeypatch.setattr(artifacts, "keep", lambda source, *_: asked.append(source) or "")
    config = SimpleNamespace(source="source", entrypoint=entrypoint)
    tracker = SimpleNamespace(run=SimpleNamespace(artifact_uri="s3://b/run"))
    settings = SimpleNamespace(paths=Paths(tmp_path))

    files.RunFiles(config, settings, object(), object(), tracker, lambda: None).keep_artifacts(Patience(0.0))

    assert asked == [kept]


def test_what_nobody_foresaw_of_them_ends_nothing(monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise ValueError("of a kind that nobody knows")

    monkeypatch.setattr(artifacts, "keep", fail)
    monkeypatch.setattr(files.curves, "keep", fail)
    tags = {}
    tracker = SimpleNamespace(run=SimpleNamespace(artifact_uri="s3://b/run"), tag=tags.update)
    config, settings = (
        SimpleNamespace(source=Path(tmp_path), entrypoint="train.py"),
        SimpleNamespace(paths=Paths(tmp_path)),
    )
    one = files.RunFiles(config, settings, object(), object(), tracker, lambda: None)

    one.keep_artifacts(Patience(0.0))
    one.draw_curves(1.0)

    assert tags["headrace.warning.artifacts"].endswith("ValueError: of a kind that nobody knows")
    assert "curves: a fault of Headrace" in capsys.readouterr().err
