"""Large objects travel in parts: one that fails is tried again alone, what is given up leaves nothing, memory stays
small; and what earlier attempts left half-written is taken away.
"""

import os
import subprocess
import sys

import pytest
from trainer_support import ACCESS_KEY, SECRET_KEY, TRAINER

from breaking_proxy import BreakingProxy
from headrace_common.protocol.config import Checkpoints
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.checkpoints import CheckpointStore
from headrace_trainer.launcher.store.parts import PART_BYTES
from headrace_trainer.launcher.store.s3 import Patience, Store

SOON = Patience(20.0)
SIZE = 3 * PART_BYTES + 5


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def proxy(s3):
    proxy = BreakingProxy(s3.port)
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy):
    return Store(Storage(proxy.endpoint, "us-east-1"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


def part(query):
    return query.get("partNumber", [""])[0]


def unfinished(s3, bucket):
    return [one["Key"] for one in s3.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def test_a_part_whose_connection_breaks_is_sent_again_alone(s3, proxy, store, file):
    bucket = s3.bucket()
    proxy.breaks = lambda method, query, _: part(query) == "2" and proxy.broken == 0

    store.upload(file, Place(bucket, "file"), SOON)

    assert s3.get(bucket, "file") == file.read_bytes()
    assert sorted(part(query) for _, query, _ in proxy.requests if part(query)) == ["1", "2", "2", "3", "4"]


def test_a_part_whose_connection_breaks_is_fetched_again_alone(s3, proxy, store, file, tmp_path):
    bucket = s3.bucket()
    s3.client.upload_file(str(file), bucket, "file")
    second = f"bytes={PART_BYTES}-{2 * PART_BYTES - 1}"
    proxy.breaks = lambda _method, _query, wanted: wanted == second and proxy.broken == 0

    store.download(Place(bucket, "file"), tmp_path / "again", SOON)

    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    assert len(proxy.requests) == 5  # four parts, one of them twice


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_a_file_of_any_size_comes_back_as_it_was(s3, store, tmp_path, size):
    bucket = s3.bucket()
    (tmp_path / "file").write_bytes(os.urandom(size))
    store.upload(tmp_path / "file", Place(bucket, "file"), SOON)
    store.download(Place(bucket, "file"), tmp_path / "again", SOON)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


def test_an_upload_that_is_given_up_leaves_nothing_behind(s3, proxy, store, file):
    bucket = s3.bucket()
    proxy.breaks = lambda method, query, _: part(query) == "3"

    with pytest.raises(Failed) as raised:
        store.upload(file, Place(bucket, "file"), Patience(1.0))

    assert raised.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert (s3.keys(bucket), unfinished(s3, bucket)) == ([], [])


def test_an_upload_whose_last_answer_is_lost_is_complete(s3, proxy, store, file):
    """The store has put the parts together, and the launcher does not know."""
    bucket = s3.bucket()

    def complete_and_break(method, query, _):
        if method != "POST" or "uploadId" not in query or proxy.broken:
            return False
        [upload] = query["uploadId"]
        parts = s3.client.list_parts(Bucket=bucket, Key="file", UploadId=upload)["Parts"]
        told = [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in parts]
        s3.client.complete_multipart_upload(Bucket=bucket, Key="file", UploadId=upload, MultipartUpload={"Parts": told})
        return True

    proxy.breaks = complete_and_break
    store.upload(file, Place(bucket, "file"), SOON)

    assert proxy.broken == 1
    assert s3.get(bucket, "file") == file.read_bytes()


def begin_upload(s3, bucket, key):
    upload = s3.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"half of it")


def test_what_earlier_attempts_left_half_written_is_taken_away(s3, store):
    bucket = s3.bucket()
    s3.put(bucket, "jobs/uid/attempt-1/ckpt-00000003/arrays.npz", b"cut off")
    s3.put(bucket, "jobs/uid/attempt-1/ckpt-00000002/manifest.json", b"complete")
    s3.put(bucket, "jobs/uid/attempt-3/ckpt-00000004/arrays.npz", b"of a later attempt, being written")
    for key in ("jobs/uid/attempt-1/ckpt-00000003/fit-0.npz", "jobs/uid/attempt-3/ckpt-00000004/fit-0.npz"):
        begin_upload(s3, bucket, key)
    settings = Checkpoints(f"s3://{bucket}/jobs/uid", 300.0, 3, 600.0)

    chosen = CheckpointStore(settings, 2, store).choose(SOON)

    assert chosen == ["attempt-1/ckpt-00000002"]
    assert s3.keys(bucket) == [
        "jobs/uid/attempt-1/ckpt-00000002/manifest.json",
        "jobs/uid/attempt-3/ckpt-00000004/arrays.npz",
    ]
    assert unfinished(s3, bucket) == ["jobs/uid/attempt-3/ckpt-00000004/fit-0.npz"]


MEASURED = """
import resource, sys
from pathlib import Path
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Place
from headrace_trainer.launcher.store.s3 import Patience, Store

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

endpoint, bucket, file = sys.argv[1:]
store, soon = Store(Storage(endpoint, "us-east-1")), Patience(60.0)
store.write(Place(bucket, "small"), b"x", soon)
before = peak()
store.upload(Path(file), Place(bucket, "file"), soon)
store.download(Place(bucket, "file"), Path(file + ".again"), soon)
print(peak() - before)
"""


def test_a_large_file_takes_little_memory(s3, tmp_path):
    file, bucket, size = tmp_path / "large", s3.bucket(), 256 << 20
    with file.open("wb") as large:
        large.truncate(size)

    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, s3.endpoint, bucket, str(file)],
        env={**os.environ, "PYTHONPATH": str(TRAINER)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert (tmp_path / "large.again").stat().st_size == size
    assert int(measured.stdout) < 100 << 20
