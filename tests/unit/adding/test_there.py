"""Whether what lies in the bucket is a file of this machine: by its size, and by the sum that the store tells."""

from __future__ import annotations

import hashlib

import pytest

from headrace.adding.there import There, etag_of


def md5(content: bytes):
    return hashlib.md5(content, usedforsecurity=False)


@pytest.fixture
def path(tmp_path):
    (path := tmp_path / "file").write_bytes(b"0123456789")
    return path


def test_the_sum_of_a_file_that_was_sent_whole_is_its_md5(path):
    assert etag_of(path, 10) == md5(b"0123456789").hexdigest()


def test_the_sum_of_parts_is_that_of_their_sums(path):
    sums = b"".join(md5(part).digest() for part in (b"0123", b"4567", b"89"))
    assert etag_of(path, 4) == f"{md5(sums).hexdigest()}-3"


@pytest.mark.parametrize(
    ("size", "etag", "is_it"),
    [
        (10, md5(b"0123456789").hexdigest(), True),
        (10, md5(b"9876543210").hexdigest(), False),  # as many bytes, and others
        (10, f"{md5(b'').hexdigest()}-3", False),  # sent in parts, by somebody else
        (9, md5(b"0123456789").hexdigest(), False),
        (9, "", False),
        (10, "", True),  # no sum is told: the size has to do
        (10, "0xabc", True),  # nor is this one
    ],
)
def test_an_object_is_the_file_by_size_and_sum(path, size, etag, is_it):
    assert There(size, etag).is_file(path, 16) is is_it
