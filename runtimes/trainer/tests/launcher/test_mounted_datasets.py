"""Datasets in a volume: here any folder, which is what a volume is to a pod."""

from __future__ import annotations

import json
import os

import pytest

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.mounted import Mounted, attach
from headrace_trainer.launcher.failures.judge import Failed

READS = """
import os
from pathlib import Path
folder = Path(os.environ["DATA"])
print("found", {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.txt"))})
raise SystemExit(int(os.environ["CODE"]))
"""


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "volume"
    for name in ("a.txt", "deep/b.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"of {name}")
    return folder


@pytest.fixture
def train(program, s3, mlflow, volume, tmp_path):
    """Starts an attempt of one job, and waits for its end."""
    bucket = s3.bucket()
    tracking = mlflow.experiment("mounted", f"s3://{bucket}/artifacts")

    def start(attempt, code=0):
        path = tmp_path / f"pod-data-{attempt}" / "images"
        config = {
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "checkpoint": {"uri": f"s3://{bucket}/headrace/checkpoints/uid-1"},
            "tracking": tracking,
            "datasets": [{"name": "images", "uri": "pvc://images/2026", "path": str(path), "mount": str(volume)}],
        }
        env = {"DATA": str(path), "CODE": str(code)}
        launched = program(READS, config=config, env=env, attempt=attempt)
        launched.wait()
        return launched

    start.experiment = tracking["experimentId"]
    return start


def test_a_training_finds_what_is_in_the_volume_and_its_run_lists_it(train, mlflow):
    launched = train(1, code=1)
    again = train(2)
    for one in (launched, again):
        assert "found {'a.txt': 'of a.txt', 'deep/b.txt': 'of deep/b.txt'}" in one.log
    assert again.record["outcome"] == "Succeeded"
    [run] = mlflow.runs(train.experiment)
    [used] = [found["dataset"] for found in run["inputs"]["dataset_inputs"]]
    assert (used["name"], used["source_type"], len(used["digest"])) == ("images", "pvc", 32)
    assert json.loads(used["source"]) == {"uri": "pvc://images/2026"}


def test_a_volume_that_has_changed_since_the_first_attempt_is_final(train, volume):
    train(1, code=1)
    (volume / "deep" / "c.txt").write_text("added since")
    launched = train(2)
    record = launched.record
    assert (record["class"], record["reason"]) == ("Data", "DatasetChanged"), launched.log
    assert "dataset images: pvc://images/2026/deep/c.txt was added" in record["message"]


@pytest.fixture
def dataset(tmp_path):
    return Dataset("images", "pvc://images/", tmp_path / "data" / "images")


@pytest.mark.parametrize("change", ["written anew", "was added", "is gone"])
def test_what_a_script_would_see_of_a_change_is_named(volume, dataset, change):
    first = Mounted(volume).objects(dataset)
    before = attach(dataset, volume, first)
    if change == "is gone":
        (volume / "a.txt").unlink()
    elif change == "was added":
        (volume / "0.txt").touch()
    else:
        os.utime(volume / "a.txt", ns=(1, 1))
    with pytest.raises(Failed, match=change) as raised:
        attach(dataset, volume, first)
    assert raised.value.failure.reason is Reason.DATASET_CHANGED
    assert attach(dataset, volume, None) != before


def test_a_link_to_another_folder_than_before_is_a_change(volume, dataset):
    """Such as `current`, which leads to the newest version."""
    (volume / "new").mkdir()
    (volume / "current").symlink_to("deep")
    first = Mounted(volume).objects(dataset)
    (volume / "current").unlink()
    (volume / "current").symlink_to("new")
    with pytest.raises(Failed, match="current was written anew"):
        attach(dataset, volume, first)


def test_one_file_of_a_volume_is_a_file(volume, dataset):
    attach(dataset, volume / "a.txt", None)
    assert dataset.path.read_text() == "of a.txt"


def test_what_the_file_system_keeps_for_itself_is_no_part_of_it(volume, dataset):
    before = Mounted(volume).objects(dataset)
    (volume / "lost+found").mkdir()
    (volume / "lost+found" / "x").touch()
    assert Mounted(volume).objects(dataset) == before


@pytest.mark.parametrize("what", ["a path that is not there", "an empty folder"])
def test_nothing_is_one_failure(volume, dataset, what):
    (volume / "an empty folder").mkdir()
    with pytest.raises(Failed, match="dataset images: pvc://images/") as raised:
        attach(dataset, volume / what, None)
    assert raised.value.failure.reason is Reason.DATASET_NOT_FOUND


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("pvc://images/2027", "Correct persistentVolumeClaim.path of dataset images in a new TrainingJob, or copy the"),
        ("oci://registry/images:1", "Name an image that has files in image.reference of dataset images"),
    ],
)
def test_nobody_is_told_to_upload_to_a_volume(volume, tmp_path, uri, hint):
    with pytest.raises(Failed) as raised:
        attach(Dataset("images", uri, tmp_path / "data"), volume / "none", None)
    assert raised.value.failure.hint.startswith(hint)


def test_what_cannot_be_read_is_told_by_its_address(volume, dataset, monkeypatch):
    def walk(*_, onerror):
        onerror(PermissionError(13, "Permission denied", str(volume / ".deep" / "b.txt")))

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(Failed) as raised:
        attach(dataset, volume, None)
    assert raised.value.failure.message == "dataset images: pvc://images/.deep/b.txt: Permission denied"


def test_a_path_that_is_a_link_out_of_the_volume_is_not_followed(volume, tmp_path):
    (tmp_path / "secret.txt").write_text("of the pod alone")
    (volume / "deep" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (volume / "same.txt").symlink_to("deep/b.txt")
    within = Dataset("images", "pvc://images/same.txt", tmp_path / "data" / "images")
    attach(within, volume / "same.txt", None)
    assert within.path.read_text() == "of deep/b.txt"
    out = Dataset("images", "pvc://images/deep/link.txt", tmp_path / "data" / "images")
    with pytest.raises(Failed, match="leads out of the volume") as raised:
        attach(out, volume / "deep" / "link.txt", None)
    assert raised.value.failure.reason is Reason.DATASET_FORBIDDEN
