"""The datasets that a run was trained with, as MLflow lists them."""

import hashlib
import json
import subprocess

import pytest
from trainer_support import wait_until

from headrace_trainer.launcher.store.digests import digest, shortened

TRAINS = "from standin_adapter import *\ntrain(2)"


@pytest.fixture
def bucket(s3):
    name = s3.bucket()
    s3.put(name, "corpus.txt", b"to be or not to be")
    for key in ("images/b.png", "images/deep/a.png", "images/c ä.png"):
        s3.put(name, key, key.encode())
    return name


@pytest.fixture
def config(s3, mlflow, bucket, tmp_path):
    return {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment("datasets", f"s3://{bucket}/mlflow"),
        "datasets": [
            {"name": "corpus", "uri": f"s3://{bucket}/corpus.txt", "path": str(tmp_path / "data" / "corpus")},
            {"name": "images", "uri": f"s3://{bucket}/images/", "path": str(tmp_path / "data" / "images")},
        ],
    }


def inputs_of(mlflow, config):
    """(name, digest, source type, source, context) of each of the run's datasets, by name."""
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    return sorted(
        (
            found["dataset"]["name"],
            found["dataset"]["digest"],
            found["dataset"]["source_type"],
            json.loads(found["dataset"]["source"])["uri"],
            {tag["key"]: tag["value"] for tag in found["tags"]}["mlflow.data.context"],
        )
        for found in run["inputs"]["dataset_inputs"]
    )


def test_a_run_lists_its_datasets_once_over_all_attempts(launch, mlflow, config, bucket, tmp_path):
    first = launch(TRAINS + "\nraise RuntimeError('no')", config=config)
    assert first.wait() == 1, first.log
    elsewhere = [{**each, "path": each["path"].replace("data", "data-2")} for each in config["datasets"]]
    second = launch(TRAINS, config={**config, "datasets": elsewhere}, attempt=2)
    assert second.wait() == 0, second.log

    [corpus, images] = inputs_of(mlflow, config)

    sha256 = hashlib.sha256(b"to be or not to be").hexdigest()
    assert corpus == ("corpus", sha256[:32], "s3", f"s3://{bucket}/corpus.txt", "training")
    assert images == (
        "images",
        shortened(digest(tmp_path / "data" / "images")),
        "s3",
        f"s3://{bucket}/images/",
        "training",
    )


def test_an_mlflow_that_is_away_gets_them_later(launch, mlflow, mlflow_gate, config, bucket):
    config["tracking"] = mlflow_gate.experiment("datasets", f"s3://{bucket}/mlflow")
    with mlflow_gate.shut():
        launched = launch(TRAINS, config=config)
        wait_until(lambda: launched.progress.get("step") == 2, 60, "it trains without MLflow")
    assert launched.wait(120) == 0, launched.log

    assert [name for name, *_ in inputs_of(mlflow, config)] == ["corpus", "images"]


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a/z", "A", "ä"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path / "data"


def test_a_person_gets_the_same_digest_with_sha256sum(folder):
    command = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-32"
    printed = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert shortened(digest(folder)) == printed.strip()


@pytest.mark.parametrize("change", ["content", "name", "one more"])
def test_another_content_has_another_digest(folder, change):
    before = digest(folder)
    if change == "content":
        (folder / "b").write_text("other")
    elif change == "name":
        (folder / "b").rename(folder / "c")
    else:
        (folder / "c").touch()
    assert digest(folder) != before
