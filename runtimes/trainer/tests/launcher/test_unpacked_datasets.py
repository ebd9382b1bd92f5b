"""Datasets that are stored compressed or as archives: the script finds what is in them, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from headrace_common.protocol.config import Dataset, Unpack
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets import download as module
from headrace_trainer.launcher.datasets.download import digest_of_stored, download
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.unpack.bounds import Bounds
from headrace_trainer.launcher.datasets.unpack.forms import Form, forms_of
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.digests import digest

NOISE = random.Random(7).randbytes(3 << 20)  # takes several pieces, and does not get smaller
CONTENT = {"a.csv": b"x,y\n1,2\n", "deep/b.bin": NOISE, "deep/empty": b""}


def tarred(content=None, *entries):
    """`entries` are more of it, as tarfile has them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in (CONTENT if content is None else content).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in entries:
            archive.addfile(entry)
    return made.getvalue()


def zipped(content=None, *, mode=0, encrypted=False, kind=zipfile.ZIP_DEFLATED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, data in (CONTENT if content is None else content).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, kind
            archive.writestr(entry, data)
    data = made.getvalue()
    if encrypted:  # the flag alone, in the directory at the end
        at = data.rindex(b"PK\x01\x02") + 8
        data = data[:at] + b"\x01" + data[at + 1 :]
    return data


def entry_of(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def damaged(data, begin):
    """Some bytes behind the place where `begin` is are others."""
    at = data.index(begin) + 200
    return data[:at] + bytes(20) + data[at + 20 :]


def with_global_headers(count, size):
    """A tar that says so many things of so many bytes of all its files."""
    made = io.BytesIO()
    for number in range(count):
        entry, record = tarfile.TarInfo("global"), f" {number:04}=".encode() + b"x" * size + b"\n"
        record = str(len(record) + len(str(len(record)))).encode() + record
        entry.type, entry.size = tarfile.XGLTYPE, len(record)
        made.write(entry.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % tarfile.BLOCKSIZE))
    return made.getvalue() + tarred({"x": b"x"})


class Stored:
    """A place that has these bytes under these paths."""

    def __init__(self, dataset, content):
        self.content = content
        self.objects = [Object(f"{dataset.uri}{path}", path, len(data), "v") for path, data in content.items()]

    def fetch(self, dataset, one, target):
        target.write_bytes(self.content[one.path])


@pytest.fixture
def get(tmp_path):
    """Fetches what is stored under these paths, and returns what the script finds."""

    def fetch(content, unpack=Unpack.AUTO, uri="s3://b/raw/", sha256=""):
        dataset = Dataset("raw", uri, tmp_path / "data" / "raw", sha256, unpack=unpack)
        place = Stored(dataset, content)
        sums = download(dataset, place.objects, place)
        fetch.digest = digest_of_stored(dataset, sums)
        assert [path.name for path in dataset.path.parent.iterdir()] == ["raw"]
        if dataset.path.is_file():
            return dataset.path.read_bytes()
        files = [path for path in dataset.path.rglob("*") if path.is_file()]
        assert not any(path.is_symlink() or stat.S_IMODE(path.stat().st_mode) & 0o222 for path in files)
        return {path.relative_to(dataset.path).as_posix(): path.read_bytes() for path in files}

    return fetch


def failure_of(get, *args, **rest):
    with pytest.raises(Failed) as raised:
        get(*args, **rest)
    assert raised.value.failure.message.startswith("dataset raw: ")
    return raised.value.failure


@pytest.mark.parametrize(
    ("uri", "unpack", "stored"),
    [
        ("s3://b/x.bin.gz", Unpack.AUTO, gzip.compress(NOISE)),
        ("s3://b/x.bin.ZST", Unpack.AUTO, zstd.compress(NOISE)),
        ("https://example.org/x.gz?key=secret.zip", Unpack.AUTO, gzip.compress(NOISE)),
        ("s3://b/x", Unpack.GZIP, gzip.compress(NOISE[:1000]) + gzip.compress(NOISE[1000:])),
        ("s3://b/x", Unpack.ZSTD, zstd.compress(NOISE[:1000]) + zstd.compress(NOISE[1000:])),
        ("s3://b/x.bin", Unpack.AUTO, NOISE),
    ],
    ids=["gzip", "zstd", "query", "two gzips", "two zstds", "neither"],
)
def test_one_file_is_one_file(get, uri, unpack, stored):
    assert get({"": stored}, unpack, uri) == NOISE
    assert get.digest == hashlib.sha256(stored).hexdigest()


@pytest.mark.parametrize(
    ("uri", "unpack", "stored"),
    [
        ("s3://b/x.tar", Unpack.AUTO, tarred()),
        ("s3://b/x.tar.gz", Unpack.AUTO, gzip.compress(tarred())),
        ("s3://b/x.tgz", Unpack.AUTO, gzip.compress(tarred())),
        ("s3://b/x.tar.zst", Unpack.AUTO, zstd.compress(tarred())),
        ("s3://b/x.zip", Unpack.AUTO, zipped()),
        ("s3://b/x", Unpack.TAR, zstd.compress(tarred())),
        ("s3://b/x", Unpack.ZIP, zipped(mode=0o100644)),
        ("s3://b/x.tar", Unpack.AUTO, tarred({f"./{name}": data for name, data in CONTENT.items()})),
        ("s3://b/x.tar", Unpack.AUTO, tarred(None, entry_of("deep", tarfile.DIRTYPE))),
    ],
    ids=["tar", "tar.gz", "tgz", "tar.zst", "zip", "said tar", "said zip", "dots", "folder"],
)
def test_an_archive_is_a_folder(get, uri, unpack, stored):
    assert get({"": stored}, unpack, uri) == CONTENT


def test_below_a_prefix_each_is_what_its_name_says_and_the_digest_is_that_of_what_is_stored(get, tmp_path):
    content = {
        "a.csv.gz": gzip.compress(b"of a"),
        "b.csv": b"of b",
        "2026/may.tar.gz": gzip.compress(tarred({"x": b"of may"})),
        "2026/june.zip": zipped({"x": b"of june"}),
        ".gz": b"a name and no end",
    }
    content[".gz"] = gzip.compress(content[".gz"])
    found = get(content)
    assert found == {
        "a.csv": b"of a",
        "b.csv": b"of b",
        "2026/may/x": b"of may",
        "2026/june/x": b"of june",
        ".gz": b"a name and no end",
    }
    for path, data in content.items():
        (tmp_path / "stored" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stored" / path).write_bytes(data)
    assert get.digest == digest(tmp_path / "stored")


BROKEN = {
    "no gzip": (Unpack.GZIP, b"plain", "gzip"),
    "half a gzip": (Unpack.GZIP, gzip.compress(NOISE)[: 1 << 20], "gzip"),
    "a gzip of other bytes": (Unpack.GZIP, gzip.compress(NOISE)[:-8] + b"\x00" * 8, "gzip"),
    "no zstd": (Unpack.ZSTD, b"plain", "zstd"),
    "half a zstd": (Unpack.ZSTD, zstd.compress(NOISE)[: 1 << 20], "zstd"),
    "nothing": (Unpack.TAR, b"", "tar"),
    "no tar": (Unpack.TAR, b"plain" * 1000, "tar"),
    "half a tar": (Unpack.TAR, tarred()[: 1 << 20], "tar"),
    "a tar up to its second file": (Unpack.TAR, tarred()[:1024], "cut off"),
    "a broken second header": (Unpack.TAR, tarred()[:1024] + b"\x07" * 2048, "cut off, or broken"),
    "half a tar.gz": (Unpack.TAR, gzip.compress(tarred())[: 1 << 20], "tar"),
    "a tar.gz with another sum": (Unpack.TAR, gzip.compress(tarred())[:-8] + b"\x00" * 8, "CRC"),
    "an empty tar": (Unpack.TAR, tarred({}), "no file in it"),
    "no zip": (Unpack.ZIP, b"plain", "zip"),
    "an empty gzip": (Unpack.GZIP, b"", "it is empty"),
    "an empty zstd": (Unpack.ZSTD, b"", "it is empty"),
    "two tars": (Unpack.TAR, tarred() + tarred({"x": b""}), "more in it behind its end"),
    "two tar.gz": (Unpack.TAR, gzip.compress(tarred()) + gzip.compress(tarred({"x": b""})), "behind its end"),
    "a broken bzip2 in a zip": (Unpack.ZIP, damaged(zipped(kind=zipfile.ZIP_BZIP2), b"BZh"), "Invalid data stream"),
    "a zip without its front": (Unpack.ZIP, zipped({"x": NOISE[:5000]})[4000:], "before its start"),
    "half a zip": (Unpack.ZIP, zipped()[: 1 << 20], "zip"),
    "a zip of other bytes": (Unpack.ZIP, zipped().replace(NOISE[:1000], NOISE[1000:2000], 1), "CRC"),
    "an encrypted zip": (Unpack.ZIP, zipped({"a": b"a"}, encrypted=True), "'a' in it is encrypted"),
    "a tar with a link": (Unpack.TAR, tarred(None, entry_of("x", tarfile.SYMTYPE, "/etc")), "'x' in it is a link"),
    "a hard link": (Unpack.TAR, tarred(None, entry_of("x", tarfile.LNKTYPE, "a.csv")), "'x' in it is a link"),
    "a device": (Unpack.TAR, tarred(None, entry_of("x", tarfile.CHRTYPE)), "'x' in it is no file"),
    "a zip with a link": (Unpack.ZIP, zipped({"x": b"/etc"}, mode=0o120777), "'x' in it is a link"),
    "a way out of a tar": (Unpack.TAR, tarred({"a/../../x": b""}), "has the part '..'"),
    "a way out of a zip": (Unpack.ZIP, zipped({"../x": b""}), "has the part '..'"),
    "an absolute name": (Unpack.TAR, tarred({"/x": b""}), "is absolute"),
    "a file twice": (Unpack.TAR, tarred({"x": b"", "./x": b""}), "'x' is in it twice"),
    "a file and a folder": (Unpack.TAR, tarred({"x": b"", "x/y": b""}), "twice, or as a file and as a folder"),
    "a folder and a file": (Unpack.ZIP, zipped({"x/y": b"", "x": b""}), "twice, or as a file and as a folder"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_unpacked_is_one_failure_that_names_it(get, tmp_path, case):
    unpack, stored, why = BROKEN[case]
    failure = failure_of(get, {"sub/x": stored}, unpack)
    assert failure.reason is Reason.DATASET_NOT_UNPACKED
    assert "s3://b/raw/sub/x cannot be unpacked as" in failure.message
    assert why in failure.message
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_header_that_is_too_large_for_memory_is_refused(get):
    entry = tarfile.TarInfo("x" * 10)
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    failure = failure_of(get, {"x": gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))}, Unpack.TAR)
    assert "a header in it is too large" in failure.message


def test_headers_that_are_together_too_large_for_memory_are_refused(get):
    assert get({"x": with_global_headers(3, 1 << 20)}, Unpack.TAR) == {"x/x": b"x"}
    failure = failure_of(get, {"y": with_global_headers(5, 1 << 20)}, Unpack.TAR)
    assert "a header in it is too large" in failure.message


def test_two_objects_that_would_be_one_file_are_told():
    dataset = Dataset("raw", "s3://b/raw/", Path("/data/raw"), unpack=Unpack.AUTO)
    objects = [Object(f"s3://b/raw/{path}", path, 1, "v") for path in ("x.csv", "x.csv.gz")]
    with pytest.raises(Failed, match=r"dataset raw: x\.csv would come of two objects") as raised:
        forms_of(dataset, objects)
    assert raised.value.failure.reason is Reason.DATASET_NOT_UNPACKED


BOMBS = {
    "gzip": (Form.GZIP, gzip.compress(bytes(8 << 20))),
    "zstd": (Form.ZSTD, zstd.compress(bytes(8 << 20))),
    "tar": (Form.TAR, gzip.compress(tarred({str(number): b"" for number in range(8000)}))),
    "folders": (Form.TAR, gzip.compress(entry_of("x", tarfile.DIRTYPE).tobuf() * 8000)),
    "a tar's end": (Form.TAR, gzip.compress(tarred({"x": b""}) + bytes(8 << 20))),
    "zip": (Form.ZIP, zipped({"x": bytes(8 << 20)})),
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_unpacks_to_very_much_more_is_not_written(get, case, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "Bounds", lambda packed, folder: Bounds(packed, folder, 20, 3 << 20))
    form, packed = BOMBS[case]
    failure = failure_of(get, {"": packed}, Unpack(form.title()), "s3://b/bomb")
    assert failure.reason is Reason.DATASET_TOO_LARGE
    assert "s3://b/bomb, unpacked, is too large: " in failure.message
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 3 << 20


def test_a_disk_that_would_be_full_is_told_before_it_is(get, monkeypatch):
    monkeypatch.setattr(module, "Bounds", lambda packed, folder: Bounds(packed, folder, left_free=1 << 60))
    failure = failure_of(get, {"": gzip.compress(b"x")}, Unpack.GZIP, "s3://b/x.gz")
    assert failure.reason is Reason.STORAGE_UNAVAILABLE  # the next attempt may find a node with more room
    assert "the disk has no more room" in failure.message


def test_another_file_than_the_one_meant_is_not_unpacked_at_all(get, monkeypatch):
    monkeypatch.setattr(module, "unpack", None)
    failure = failure_of(get, {"": gzip.compress(b"x")}, Unpack.GZIP, "https://example.org/x", f"sha256:{'0' * 64}")
    assert failure.reason is Reason.DATASET_CHANGED


READS = """
import os
print("found", open(os.environ["DATA"]).read())
"""


def test_a_program_finds_what_is_in_an_object(program, s3, tmp_path):
    bucket, path = s3.bucket(), tmp_path / "data" / "words"
    s3.put(bucket, "words.txt.gz", gzip.compress(b"of words"))
    dataset = {"name": "words", "uri": f"s3://{bucket}/words.txt.gz", "path": str(path), "unpack": "Auto"}
    config = {"storage": {"endpoint": s3.endpoint, "region": "us-east-1"}, "datasets": [dataset]}
    launched = program(READS, config=config, env={"DATA": str(path)})
    assert launched.wait() == 0, launched.log
    assert "found of words" in launched.log
