"""What an earlier start has fetched is used as far as its journal can be followed, and for the same model only."""

from __future__ import annotations

import pytest

from headrace_loader.partial import Partial
from headrace_loader.ranges import Span

DIGEST = "sha256:1"
SIZES = {"onnx/model.onnx": 10, "signature.json": 2}
PATH = "onnx/model.onnx"


@pytest.fixture
def folder(tmp_path):
    """Of an earlier start, which has fetched two of three parts."""
    folder = tmp_path / ".current.partial"
    partial = Partial(folder, DIGEST, SIZES)
    (partial.files / PATH).write_bytes(b"0123    89")
    partial.note(PATH, Span(0, 4), "tag")
    partial.note(PATH, Span(8, 10), "tag")
    return folder


def test_the_next_start_finds_what_is_whole(folder):
    partial = Partial(folder, DIGEST, SIZES)
    assert partial.present(PATH) == (Span(0, 4), Span(8, 10))
    assert partial.tag(PATH) == "tag"
    assert (partial.present_bytes(), partial.missing_bytes()) == (6, 6)
    assert (partial.files / PATH).read_bytes() == b"0123    89"


def test_a_line_that_is_half_written_counts_for_nothing_and_does_not_spoil_the_next_one(folder):
    journal = folder / "journal"
    journal.write_bytes(journal.read_bytes()[:-3])
    partial = Partial(folder, DIGEST, SIZES)
    assert partial.present(PATH) == (Span(0, 4),)
    partial.note(PATH, Span(4, 8), "tag")
    assert Partial(folder, DIGEST, SIZES).present(PATH) == (Span(0, 8),)


def test_what_is_of_another_model_is_removed(folder):
    partial = Partial(folder, "sha256:2", SIZES)
    assert partial.present_bytes() == 0
    assert not (partial.files / PATH).exists()


def test_a_file_that_is_forgotten_is_fetched_anew_also_by_the_next_start(folder):
    Partial(folder, DIGEST, SIZES).forget(PATH)
    assert Partial(folder, DIGEST, SIZES).present(PATH) == ()


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"\n",
        b"[]\n",
        b"\xff\n",
        b'{"digest":"sha256:1"}\n{}\n',
        b'{"digest":"sha256:1"}\n[]\n',
        b'{"digest":"sha256:1"}\n{"path":"../../x","tag":"t","spans":[[0,1]]}\n',
        b'{"digest":"sha256:1"}\n{"path":"signature.json","tag":"t","spans":[[0,3],[-1,1],[2,1]]}\n',
        b'{"digest":"sha256:1"}\n{"path":"signature.json","tag":"t","spans":[["0",1]]}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_journal_that_cannot_be_followed_is_as_none(folder, journal):
    (folder / "journal").write_bytes(journal)
    partial = Partial(folder, DIGEST, SIZES)
    assert partial.present_bytes() == 0


def test_nothing_is_written_through_a_link(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    (folder / "files" / PATH).unlink()
    (folder / "files" / PATH).symlink_to(outside)
    partial = Partial(folder, DIGEST, SIZES)
    assert partial.present_bytes() == 0
    assert not (partial.files / PATH).exists()
    assert outside.read_bytes() == b"x"
