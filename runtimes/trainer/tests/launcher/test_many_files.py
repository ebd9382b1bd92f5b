"""Datasets of many small objects: several are fetched at once, and nobody waits for them who is to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from trainer_support import wait_until

from breaking_proxy import BreakingProxy
from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets import download as module
from headrace_trainer.launcher.datasets.at_once import for_each
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.objects import Object, found_below
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.parts import PART_BYTES


def test_so_many_at_once_and_no_more():
    together = threading.Barrier(4, timeout=20)  # breaks where fewer come
    under_way, most, turn = 0, 0, threading.Lock()

    def work(_):
        nonlocal under_way, most
        with turn:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with turn:
            under_way -= 1
        together.wait()

    for_each(range(40), work, 4)

    assert most == 4


def test_items_are_taken_when_their_turn_comes():
    taken, done = [], []

    def items():
        for number in range(1000):
            taken.append(number)
            assert len(taken) - len(done) <= 4
            yield number

    for_each(items(), done.append, 3)
    assert sorted(done) == list(range(1000))


def test_after_a_failure_no_other_begins():
    begun = []

    def work(number):
        begun.append(number)
        if number == 3:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        for_each(range(100_000), work, 2)
    assert len(begun) < 1000


class Made:
    """A place whose objects are made when they are fetched; `of_large` tells how many were under way beside each
    large one.
    """

    def __init__(self):
        self.under_way, self.of_large, self.turn = 0, [], threading.Lock()

    def fetch(self, dataset, one, target):
        with self.turn:
            self.under_way += 1
            if one.size > PART_BYTES:
                self.of_large.append(self.under_way)
        target.write_text(one.path)
        with self.turn:
            self.under_way -= 1


def test_large_objects_come_one_by_one_and_what_has_come_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "_TELL_SECONDS", 0.0)
    sizes = [1, PART_BYTES + 1, 1, 2 * PART_BYTES, 1]
    objects = [Object(f"s3://b/{n}/f", f"{n}/f", size, "v") for n, size in enumerate(sizes)]
    made, dataset = Made(), Dataset("images", "s3://b/", tmp_path / "data")

    download(dataset, objects, made)

    assert made.of_large == [1, 1]
    assert [path.read_text() for path in sorted(dataset.path.rglob("f"))] == [f"{n}/f" for n in range(5)]
    told = capsys.readouterr().err
    assert "headrace: dataset images: 5 file(s), 25.2 MB" in told
    assert "headrace: dataset images: 5 of 5 file(s), 25.2 of 25.2 MB" in told


class Written:
    """A place whose objects have their path as content; each is written to a file beside its target first."""

    def fetch(self, dataset, one, target):
        part = target.with_name(f"{target.name}.part")
        part.write_text(one.path)
        part.rename(target)


def test_a_name_is_no_other_objects_while_that_comes(tmp_path):
    """The small one is there before the large one begins."""
    dataset, longest = Dataset("d", "s3://b/", tmp_path / "d"), "n" * 255
    sizes = {"a": PART_BYTES + 1, "a.part": 1, longest: 1}
    download(dataset, [Object(f"s3://b/{path}", path, size, "v") for path, size in sizes.items()], Written())
    assert {path.name: path.read_text() for path in dataset.path.iterdir()} == {path: path for path in sizes}
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("keys", [("a/b", "a//b"), ("a", "./a"), ("a/b", "a/./b"), ("a", "a//b")])
def test_two_keys_that_would_be_one_file_are_told(tmp_path, keys):
    with pytest.raises(Failed, match="is the name of") as raised:
        found_below(Dataset("d", "s3://b/", tmp_path / "d"), [(key, 1, "v") for key in keys])
    assert raised.value.failure.reason is Reason.DATASET_FORBIDDEN


READS = """
import os
from pathlib import Path
found = sorted(path.read_text() for path in Path(os.environ["DATA"]).rglob("*.txt"))
print("found", len(found), found[0], found[-1])
"""


@pytest.fixture
def many(s3, tmp_path):
    bucket = s3.bucket()
    for number in range(300):
        s3.put(bucket, f"many/{number % 7}/{number:03}.txt", f"{number:03}".encode())
    path = tmp_path / "data" / "many"
    return path, {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "datasets": [{"name": "many", "uri": f"s3://{bucket}/many/", "path": str(path)}],
    }


def test_all_of_them_are_there(program, many):
    path, config = many
    launched = program(READS, config=config, env={"DATA": str(path)})
    assert launched.wait() == 0, launched.log
    assert "found 300 000 299" in launched.log
    assert not list(Path(path).rglob("*.part"))


def test_sigterm_ends_a_download_at_once(program, s3, many):
    path, config = many
    proxy, may_answer = BreakingProxy(s3.port), threading.Event()
    proxy.breaks = lambda method, query, _: "list-type" not in query and not may_answer.wait(60)
    storage = {**config["storage"], "endpoint": proxy.endpoint}
    launched = program(READS, config={**config, "storage": storage}, env={"DATA": str(path)})
    wait_until(lambda: "dataset many: 300 file(s)" in launched.log, 30, "the download begins")
    try:
        launched.process.send_signal(signal.SIGTERM)
        assert launched.wait(10) == 6, launched.log
    finally:
        may_answer.set()
        proxy.close()
    assert launched.record["outcome"] == "Interrupted"


@pytest.mark.parametrize(("paths", "fault"), [(["../a"], "outside"), (["a", "a/b"], "of a file and of a folder")])
def test_objects_that_cannot_all_be_files_are_one_failure_that_names_one(tmp_path, paths, fault):
    listed = [(path, 1, "v") for path in paths]
    with pytest.raises(Failed, match=f"s3://b/{paths[0]} .*{fault}") as raised:
        found_below(Dataset("images", "s3://b/", tmp_path), listed)
    assert raised.value.failure.reason is Reason.DATASET_FORBIDDEN
    assert "Rename the object" in raised.value.failure.hint
