"""A dataset that is divided: each object in one worker's part, and in the same one in each attempt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_common.protocol.config import Dataset, Shard
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.sharding import part_of, share
from headrace_trainer.launcher.failures.judge import Failed

DATASET = Dataset("images", "s3://b/images/", Path("/data/images"), shard=Shard.BY_WORKER)
SIZES = st.lists(st.integers(0, 50) | st.integers(0, 1 << 40), min_size=1, max_size=60)
HOSTS = ["127.0.0.1", "127.0.0.2"]
READS = """
import os
from pathlib import Path
folder = Path(os.environ["DATA"])
print("found", sorted(path.name for path in folder.rglob("*.txt")), "of", os.environ["HEADRACE_SHARDED_DATASETS"])
raise SystemExit(int(os.environ["CODE"]))
"""


def listed(sizes):
    return [Object(f"s3://b/images/{number:03}", f"{number:03}", size, "v") for number, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_each_object_is_in_one_part_and_the_order_of_the_list_changes_nothing(sizes, workers, random):
    objects = listed(sizes)
    parts = [part_of(objects, worker, workers) for worker in range(workers)]

    assert sorted((one for part in parts for one in part), key=lambda one: one.path) == objects
    loads = [sum(one.size for one in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes)
    if sum(size > 0 for size in sizes) >= workers:
        assert all(loads)
    shuffled = random.sample(objects, len(objects))
    for worker, part in enumerate(parts):
        assert sorted(part_of(shuffled, worker, workers), key=lambda one: one.path) == list(part)


def test_a_dataset_that_is_not_to_be_divided_or_has_one_reader_is_whole():
    objects = listed([1, 2, 3])
    assert share(Dataset("images", "s3://b/images/", Path("/data/images")), objects, 1, 2) == objects
    assert share(DATASET, objects, 0, 1) == objects


def test_fewer_objects_with_bytes_than_workers_are_told_with_both_numbers():
    told_so = r"dataset images: s3://b/images/ has 2 object\(s\) that are not empty, and there are 3 workers"
    with pytest.raises(Failed, match=told_so) as told:
        share(DATASET, listed([0, 1, 2]), 0, 3)
    assert told.value.failure.reason is Reason.DATASET_NOT_DIVIDED


@pytest.fixture
def gang(program, s3, mlflow, tmp_path):
    """Starts both workers of an attempt, and waits for their ends."""
    bucket = s3.bucket()
    for number in range(5):
        s3.put(bucket, f"raw/{number}.txt", b"x" * (number + 1))
    tracking = mlflow.experiment("sharded", f"s3://{bucket}/artifacts")

    def start(attempt, code=0, uri=f"s3://{bucket}/raw/"):
        pods = []
        for index, host in enumerate(HOSTS):
            path = tmp_path / f"data-{attempt}-{index}" / "raw"
            config = {
                "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
                "checkpoint": {"uri": f"s3://{bucket}/headrace/checkpoints/uid-1"},
                "tracking": tracking,
                "datasets": [{"name": "raw", "uri": uri, "path": str(path), "shard": "ByWorker"}],
                "workers": {"count": 2, "addresses": HOSTS, "nameDeadlineSeconds": 5},
            }
            env = {"DATA": str(path), "CODE": str(code), "JOB_COMPLETION_INDEX": str(index)}
            env |= {"HEADRACE_PEER_HOLD_SECONDS": "3"}
            pods.append(program(READS, config=config, env=env, attempt=attempt, host=host))
        for pod in pods:
            pod.wait()
        return pods

    start.put = lambda name: s3.put(bucket, f"raw/{name}", b"late")
    start.file = f"s3://{bucket}/raw/1.txt"
    start.inputs = lambda: [run["inputs"] for run in mlflow.runs(tracking["experimentId"])]
    return start


def found_by(pods):
    return [re.search(r"found (\[.*\]) of raw", pod.log)[1] for pod in pods]


def test_two_workers_get_their_parts_and_a_retry_the_same_ones(gang):
    first = gang(1, code=1)
    gang.put("9.txt")
    second = gang(2)
    assert found_by(first) == ["['0.txt', '1.txt', '4.txt']", "['2.txt', '3.txt']"]
    assert found_by(second) == found_by(first)
    assert "9.txt" not in "".join(found_by(second))
    assert "dataset raw: 3 of 5 objects are this worker's part" in first[0].log
    (inputs,) = gang.inputs()
    assert len(inputs["dataset_inputs"]) == 1  # of all of it, in both attempts


def test_one_file_for_two_workers_is_no_training(gang):
    pods = gang(1, uri=gang.file)
    for pod in pods:
        assert (pod.record["class"], pod.record["reason"]) == ("Data", "DatasetNotDivided"), pod.log
