"""What a training is given is the same in all of its attempts: what the first one found."""

from __future__ import annotations

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Place
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.pins import Pins
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.s3 import Patience, Store

READS = """
import os
from pathlib import Path
folder = Path(os.environ["DATA"])
print("found", {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.txt"))})
raise SystemExit(int(os.environ["CODE"]))
"""


@pytest.fixture
def bucket(s3):
    name = s3.bucket()
    s3.put(name, "raw/a.txt", b"of a")
    s3.put(name, "raw/deep/b.txt", b"of b")
    return name


@pytest.fixture
def train(program, s3, bucket, tmp_path):
    """Starts an attempt of one job, whose input is what lies below raw/, and waits for its end."""

    def start(attempt, *, code=0, checkpoints=True, worker=0, uid="uid-1", shared=""):
        path = tmp_path / f"data-{attempt}-{worker}-{uid}" / "raw"
        config = {
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "datasets": [{"name": "raw", "uri": f"s3://{bucket}/raw", "path": str(path)}],
            "workers": {"count": 2, "addresses": ["127.0.0.1", "127.0.0.2"]} if worker else {"count": 1},
        }
        if checkpoints:
            config["checkpoint"] = {"uri": f"s3://{bucket}/headrace/checkpoints/{uid}"}
        if shared:
            config |= {"protocol": 6, "inputs": {"uri": f"s3://{bucket}/headrace/checkpoints/{shared}/inputs"}}
        env = {"DATA": str(path), "CODE": str(code), "JOB_COMPLETION_INDEX": str(worker)}
        launched = program(READS, config=config, env=env, attempt=attempt)
        launched.wait()
        return launched

    return start


def test_a_retry_trains_on_what_the_first_attempt_found(train, s3, bucket):
    first = train(1, code=1)
    assert "found {'a.txt': 'of a', 'deep/b.txt': 'of b'}" in first.log
    s3.put(bucket, "raw/c.txt", b"added since")

    second = train(2)

    assert second.record["outcome"] == "Succeeded", second.log
    assert "found {'a.txt': 'of a', 'deep/b.txt': 'of b'}" in second.log


@pytest.mark.parametrize("change", ["written anew", "gone"])
def test_what_has_changed_since_is_final_and_named(train, s3, bucket, change):
    train(1, code=1)
    if change == "gone":
        s3.delete(bucket, "raw/deep/b.txt")
    else:
        s3.put(bucket, "raw/deep/b.txt", b"anew")

    second = train(2)

    record = second.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Failed", "Data", "DatasetChanged"), second.log
    assert record["exitCode"] == 2
    assert f"dataset raw: s3://{bucket}/raw/deep/b.txt" in record["message"]
    assert change in record["message"]
    assert "new TrainingJob" in record["hint"]
    assert "found" not in second.log


def test_all_trials_of_a_tuning_train_on_what_the_first_one_found(train, s3, bucket):
    train(1, uid="uid-t0", shared="uid-job")
    s3.put(bucket, "raw/c.txt", b"added since")

    second = train(1, uid="uid-t1", shared="uid-job")

    assert second.record["outcome"] == "Succeeded", second.log
    assert "found {'a.txt': 'of a', 'deep/b.txt': 'of b'}" in second.log
    assert s3.keys(bucket, "headrace/checkpoints/uid-t1/inputs") == []
    s3.put(bucket, "raw/a.txt", b"anew")
    third = train(1, uid="uid-t2", shared="uid-job")
    assert (third.record["class"], third.record["reason"]) == ("Data", "DatasetChanged"), third.log
    assert "all trials of a tuning" in third.record["hint"]


def test_of_trials_that_begin_at_once_the_first_to_write_says_what_all_read(bucket, store, dataset, s3):
    """Each has found nothing there, and has listed something else, before any of them has written."""
    all_have_listed = threading.Barrier(3)

    class Listing(Pins):
        def _found(self, dataset):
            found = super()._found(dataset)
            number = all_have_listed.wait(30)
            return [replace(one, version=f"of {number}") for one in found]

    def pin(_):
        one = Listing(f"s3://{bucket}/ckpt/inputs", is_chief=True, store=store, outage_seconds=1.0)
        return tuple(one.objects((dataset,))["raw"])

    with ThreadPoolExecutor(3) as threads:
        read = set(threads.map(pin, range(3)))
    assert len(read) == 1
    assert read == {tuple(pins_of(bucket, store).objects((dataset,))["raw"])}


class KnowsNoConditions(BaseHTTPRequestHandler):
    """A store that says so."""

    written: ClassVar[list[bytes]] = []

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_refused = "If-None-Match" in self.headers
        self.send_response(501 if is_refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if not is_refused:
            self.written.append(body)

    def log_message(self, *args):
        pass


def test_a_store_that_knows_no_conditions_is_written_to_all_the_same(store):
    server = ThreadingHTTPServer(("127.0.0.1", 0), KnowsNoConditions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        plain = Store(Storage(f"http://127.0.0.1:{server.server_port}", "us-east-1"))
        plain.write_first(Place("b", "inputs/raw.json.gz"), b"what was found", Patience(1.0))
    finally:
        server.shutdown()
        server.server_close()
    assert KnowsNoConditions.written == [b"what was found"]


def test_without_checkpoints_an_attempt_begins_from_nothing_with_what_is_there(train, s3, bucket):
    train(1, code=1, checkpoints=False)
    s3.put(bucket, "raw/a.txt", b"anew")
    second = train(2, checkpoints=False)
    assert second.record["outcome"] == "Succeeded", second.log
    assert "'a.txt': 'anew'" in second.log


def test_another_worker_reads_what_the_chief_has_found(train, s3, bucket):
    s3.put(bucket, "headrace/checkpoints/uid-1/attempt-2/resume.json", b'{"checkpoint":null}')
    train(1, code=1)
    s3.put(bucket, "raw/c.txt", b"added since")
    worker = train(2, worker=1)
    assert worker.record["outcome"] == "Succeeded", worker.log
    assert "found {'a.txt': 'of a', 'deep/b.txt': 'of b'}" in worker.log


@pytest.fixture
def dataset(bucket, tmp_path):
    return Dataset("raw", f"s3://{bucket}/raw/", tmp_path / "data" / "raw")


@pytest.fixture
def pins(bucket, store):
    return pins_of(bucket, store)


def pins_of(bucket, store):
    return Pins(f"s3://{bucket}/ckpt/inputs", is_chief=True, store=store, outage_seconds=1.0)


def test_an_object_written_anew_while_the_training_gets_ready_is_final_too(pins, store, dataset, s3, bucket):
    found = pins.objects((dataset,))["raw"]
    s3.put(bucket, "raw/a.txt", b"anew")
    with pytest.raises(Failed, match=r"raw/a\.txt was written anew") as raised:
        download(dataset, found, origin_of(dataset, store, 1.0))
    assert raised.value.failure.reason is Reason.DATASET_CHANGED


def test_what_has_a_digest_needs_no_pin(pins, s3, bucket):
    prepared = Dataset("made", f"s3://{bucket}/raw/", Path("/data/made"), "sha256:" + "0" * 64)
    assert pins.objects((prepared,)) == {}
    assert s3.keys(bucket, "ckpt") == []


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"[]"),
        gzip.compress(json.dumps({"protocol": 1, "uri": "s3://other/raw/", "objects": [["a", 1, "e"]]}).encode()),
        gzip.compress(json.dumps({"protocol": 1, "uri": "URI", "objects": [["../a", 1, "e"]]}).encode()),
        gzip.compress(json.dumps({"protocol": 1, "uri": "URI", "objects": [["a", "1", "e"]]}).encode()),
        gzip.compress(json.dumps({"protocol": 1, "uri": "URI", "objects": []}).encode()),
        gzip.compress(json.dumps({"protocol": 1, "uri": "URI", "objects": [["a", 1, "e"], ["a/b", 1, "e"]]}).encode()),
        gzip.compress(json.dumps({"protocol": 1, "uri": "URI", "objects": [["", 1, "e"], ["b", 1, "e"]]}).encode()),
    ],
    ids=[
        "no gzip",
        "no object",
        "another address",
        "outside",
        "no size",
        "no objects",
        "a file and a folder",
        "no name",
    ],
)
def test_a_pin_that_is_none_is_not_believed(pins, store, dataset, content):
    """The bucket is the namespace's, and any of its pods can have written it."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.compress(gzip.decompress(content).replace(b"URI", dataset.uri.encode()))
    place = Place.parse(f"{dataset.uri.removesuffix('raw/')}ckpt/inputs/raw.json.gz")
    store.write(place, content, pins.patience)
    with pytest.raises(Failed, match=r"inputs/raw\.json\.gz") as raised:
        pins.objects((dataset,))
    assert raised.value.failure.reason is Reason.DATASET_CHANGED
