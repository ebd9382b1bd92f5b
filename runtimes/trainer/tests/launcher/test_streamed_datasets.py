"""Datasets that are read as they come: the script has the bytes that were listed, or the job says why not."""

from __future__ import annotations

import os
import random

import pytest
from emulators import INSTALLED, Azure, Google, Hdfs
from trainer_support import wait_until

from headrace_common.protocol.config import Access, Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.streams import Streamed, Streams
from headrace_trainer.launcher.failures.judge import Failed, Failure

NOISE = random.Random(7).randbytes(9 << 20)
READS = """
import hashlib, multiprocessing, os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import headrace_client as headrace

def digest(file):
    with file.open(1 << 20) as opened:
        whole = hashlib.sha256()
        while data := opened.read(100_000):
            whole.update(data)
    return file.path, file.size, whole.hexdigest()[:8]

files = headrace.open_dataset("raw")
with ThreadPoolExecutor(4) as pool:
    print("threads", list(pool.map(digest, files)))
opened = files[0].open()
opened.seek(-5, 2)
print("end", opened.read(), opened.tell(), opened.read())
with multiprocessing.get_context("fork").Pool(2) as pool:
    print("processes", pool.map(digest, files) == list(map(digest, files)))
print("copied", Path(os.environ["DATA"]).exists())
"""
GONE = """
import headrace_client as headrace, os, sys
(file,) = headrace.open_dataset("raw")
opened = file.open()
print("first", opened.read(4))
print("now", flush=True)
sys.stdin = open(os.environ["GO"])
sys.stdin.read()
opened.seek(-4, 2)
try:
    opened.read()
except headrace.DatasetUnavailable:
    if os.environ["GOES_ON"] == "no":
        raise
"""


@pytest.fixture
def bucket(s3):
    name = s3.bucket()
    s3.put(name, "raw/a.bin", NOISE)
    s3.put(name, "raw/deep/b.txt", b"of b")
    s3.put(name, "raw/empty", b"")
    return name


@pytest.fixture
def start(program, s3, mlflow, bucket, tmp_path):
    tracking = mlflow.experiment("streamed", f"s3://{bucket}/artifacts")

    def launch(script, uri, **env):
        path = tmp_path / "data" / "raw"
        dataset = {"name": "raw", "uri": f"s3://{bucket}/{uri}", "path": str(path), "access": "Stream"}
        config = {"storage": {"endpoint": s3.endpoint, "region": "us-east-1"}, "datasets": [dataset]}
        return program(script, config={**config, "tracking": tracking}, env={"DATA": str(path), **env})

    launch.inputs = lambda: mlflow.runs(tracking["experimentId"])[0]["inputs"]["dataset_inputs"]
    return launch


def test_a_script_reads_what_it_wants_and_nothing_is_copied(start):
    launched = start(READS, "raw/")
    assert launched.wait() == 0, launched.log
    assert f"('a.bin', {9 << 20}, '" in launched.log
    assert "('deep/b.txt', 4, '" in launched.log
    assert f"end {NOISE[-5:]!r} {9 << 20} b''" in launched.log
    assert "processes True" in launched.log
    assert "copied False" in launched.log
    assert len(start.inputs()) == 1


@pytest.mark.parametrize("goes_on", ["no", "yes"])
def test_an_object_that_changes_meanwhile_ends_the_job_as_what_it_is(start, s3, bucket, tmp_path, goes_on):
    os.mkfifo(tmp_path / "go")
    launched = start(GONE, "raw/a.bin", GO=str(tmp_path / "go"), GOES_ON=goes_on)
    wait_until(lambda: "now" in launched.log, 60, "the script has read")
    s3.put(bucket, "raw/a.bin", NOISE[::-1])
    (tmp_path / "go").write_text("go")
    launched.wait()
    record = launched.record
    if goes_on == "yes":
        assert record["outcome"] == "Succeeded", launched.log
        told = launched.log.partition("data: the script ended well, and could not read all: ")[2]
    else:
        assert (record["class"], record["reason"]) == ("Data", "DatasetChanged"), launched.log
        told = record["message"]
    assert f"s3://{bucket}/raw/a.bin was written anew" in told


def test_only_a_script_that_ended_by_itself_ended_by_what_it_could_not_read():
    streams, changed = Streams(), Failure(Reason.DATASET_CHANGED, "", "")
    raised, killed = Failure(Reason.SCRIPT_RAISED, "", ""), Failure(Reason.OUT_OF_MEMORY, "", "")
    assert streams.cause_of(raised) is raised
    streams.failed("/raw/1/0/9", changed)
    streams.failed("/raw/2/0/9", killed)
    assert streams.cause_of(raised) is changed
    assert streams.cause_of(killed) is killed


def test_what_was_read_well_since_is_no_cause():
    streams, away = Streams(), Failure(Reason.STORAGE_UNAVAILABLE, "", "")
    raised = Failure(Reason.SCRIPT_RAISED, "", "")
    streams.failed("/raw/1/0/9", away)
    streams.went_well("/raw/2/0/9")
    assert streams.cause_of(raised) is away
    streams.went_well("/raw/1/5/9")
    assert streams.cause_of(raised) is raised
    assert streams.failure is None


class Kept:
    """A place that has these bytes."""

    def read(self, dataset, one, begin, end):
        return NOISE[begin:end]


def test_what_is_asked_for_wrongly_is_not_there():
    streams = Streams()
    dataset = Dataset("raw", "s3://b/x", None, access=Access.STREAM)
    streams._served["raw"] = Streamed(dataset, [Object("s3://b/x", "", len(NOISE), "v")], Kept())
    assert streams.answer("/raw") == b'[["", 9437184]]'
    assert streams.answer("/raw/0/3/7") == NOISE[3:7]
    assert streams.answer("/raw/0/9437180/9999999") == NOISE[-4:]
    assert streams.answer("/raw/0/7/3") == streams.answer("/raw/0/9437184/9437185") == b""
    for wrong in ("/other", "/raw/1/0/1", "/raw/0/0", "/raw/0/a/b", ""):
        with pytest.raises((LookupError, ValueError)):
            streams.answer(wrong)


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="scripts/environment clouds installs the stores")
@pytest.mark.parametrize("kind", [Google, Azure, Hdfs])
def test_each_kind_of_place_gives_parts_of_what_was_listed(kind, tmp_path, monkeypatch):
    server = kind(tmp_path)
    try:
        server.start()
        server.await_up()
        if kind is Hdfs:
            uri, put = f"{server.uri}/words", lambda data: server.put("words", data)
        else:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            bucket = server.bucket()
            uri, put = f"{server.scheme}://{bucket}/words", lambda data: server.put(bucket, "words", data)
        put(b"some words")
        dataset = Dataset("d", uri, tmp_path / "d", access=Access.STREAM)
        origin = origin_of(dataset, None, 2.0)
        streams = Streams()
        streams.serve(Streamed(dataset, origin.objects(dataset), origin))
        assert streams.answer("/d/0/5/9") == b"word"
        put(b"other byte")
        with pytest.raises(Failed, match="was written anew"):
            streams.answer("/d/0/5/9")
    finally:
        server.stop()
