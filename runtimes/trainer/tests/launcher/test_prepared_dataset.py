"""A dataset of which the digest is known beforehand: what an earlier stage has prepared, and nothing else."""

from __future__ import annotations

import pytest

from headrace_trainer.launcher.store.digests import digest

FILES = {"words/all.txt": b"TO BE OR NOT TO BE", "count": b"6"}
READS = """
import os
from pathlib import Path
folder = Path(os.environ["DATA"])
print("found", sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
print("writable", [oct(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.stat().st_mode & 0o222])
"""


@pytest.fixture
def kept(s3, tmp_path):
    """A bucket with the dataset, and what a training is told of it."""
    for name, content in FILES.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    bucket, hex_digits = s3.bucket(), digest(tmp_path / "made")
    for name, content in FILES.items():
        s3.put(bucket, f"headrace/datasets/corpus/{hex_digits}/{name}", content)
    s3.put(bucket, f"headrace/datasets/corpus/{hex_digits}.json", b"the manifest, which no training reads")
    return bucket, {
        "name": "corpus",
        "uri": f"s3://{bucket}/headrace/datasets/corpus/{hex_digits}/",
        "path": str(tmp_path / "data" / "corpus"),
        "digest": f"sha256:{hex_digits}",
    }


def train(program, s3, dataset):
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    return program(READS, config={"storage": storage, "datasets": [dataset]}, env={"DATA": dataset["path"]})


def test_a_training_finds_its_files_alone_and_cannot_write_to_them(program, s3, kept):
    _, dataset = kept
    launched = train(program, s3, dataset)
    assert launched.wait() == 0, launched.log
    assert "found ['count', 'words/all.txt']" in launched.log
    assert "writable []" in launched.log


@pytest.mark.parametrize("change", ["content", "one more", "one less", "name"])
def test_what_was_changed_since_is_not_trained_on(program, s3, kept, change):
    bucket, dataset = kept
    place = dataset["uri"].removeprefix(f"s3://{bucket}/")
    if change in ("one less", "name"):
        s3.delete(bucket, f"{place}count")
    if change != "one less":
        s3.put(bucket, place + {"content": "count", "one more": "more", "name": "Count"}[change], b"7")

    launched = train(program, s3, dataset)

    assert launched.wait() == 2, launched.log
    record = launched.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Failed", "Data", "DatasetChanged")
    assert "dataset corpus" in record["message"]
    assert f"{dataset['uri'].rstrip('/')}.json" in record["hint"]
    assert "found" not in launched.log


def test_one_that_is_gone_is_to_be_prepared_anew(program, s3, kept):
    bucket, dataset = kept
    for name in FILES:
        s3.delete(bucket, dataset["uri"].removeprefix(f"s3://{bucket}/") + name)
    launched = train(program, s3, dataset)
    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Data", "DatasetNotFound")
    assert "new TrainingJob prepares it anew" in launched.record["hint"]
    assert "spec.datasets" not in launched.record["hint"]


def test_one_file_may_have_a_digest_too(program, s3, kept):
    bucket, dataset = kept
    s3.put(bucket, "one.txt", b"other")
    launched = train(program, s3, {**dataset, "uri": f"s3://{bucket}/one.txt"})
    assert launched.wait() == 2, launched.log
    assert launched.record["reason"] == "DatasetChanged"
