"""The files of a dataset. What the launcher does for one that is streamed: runtimes/trainer/tests/launcher."""

import io
from pathlib import Path

import pytest

import headrace_client
from headrace_common.protocol.config import Access, Dataset
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.datasets.streams import Streamed, Streams, environment

LARGE = bytes(range(256)) * (10 << 12)  # 10 MiB


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("HEADRACE_MESSAGES", "HEADRACE_STREAMED_DATASETS"):
        monkeypatch.delenv(name, raising=False)


def test_outside_of_a_pod_it_is_the_folder_of_its_name_below_data(tmp_path):
    (tmp_path / "data" / "images" / "deep").mkdir(parents=True)
    for name in ("b", "deep/a"):
        (tmp_path / "data" / "images" / name).write_text(f"of {name}")
    files = headrace_client.open_dataset("images")
    assert [(file.path, file.size, file.open().read()) for file in files] == [
        ("b", 4, b"of b"),
        ("deep/a", 9, b"of deep/a"),
    ]


def test_one_file_is_one_file_and_none_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words").write_text("of words")
    (file,) = headrace_client.open_dataset("words")
    assert (file.path, file.open().read()) == ("words", b"of words")
    with pytest.raises(FileNotFoundError, match="there is no dataset at data/none"):
        headrace_client.open_dataset("none")


def test_links_to_folders_are_followed_and_not_in_a_circle(tmp_path):
    data, elsewhere = tmp_path / "data" / "images", tmp_path / "elsewhere"
    for folder in (data / "train", elsewhere):
        folder.mkdir(parents=True)
    (data / "train" / "a").write_text("of a")
    (elsewhere / "b").write_text("of b")
    for link, target in {
        "current": "train",
        "test": elsewhere,
        "train/up": "..",
        "train/itself": "itself",
        "nowhere": "none",
    }.items():
        (data / link).symlink_to(target)
    found = {file.path: file.open().read() for file in headrace_client.open_dataset("images")}
    assert found == {"current/a": b"of a", "test/b": b"of b", "train/a": b"of a"}


def test_a_folder_without_a_file_is_told(tmp_path):
    (tmp_path / "data" / "images" / "deep").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="there is no file in data/images"):
        headrace_client.open_dataset("images")


class Kept:
    """A place that has these bytes, and counts how often it is asked."""

    def __init__(self):
        self.requests = 0

    def read(self, dataset, one, begin, end):
        self.requests += 1
        return LARGE[begin:end]


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (lambda opened: opened.read(), LARGE),
        (lambda opened: opened.read(10) + opened.read(), LARGE),
        (lambda opened: io.TextIOWrapper(opened, "latin-1", newline="").read().encode("latin-1"), LARGE),
        (lambda opened: (opened.seek(9 << 20), opened.read())[1], LARGE[9 << 20 :]),
        (lambda opened: (opened.seek(0, 2), opened.read())[1], b""),
    ],
    ids=["all", "the rest", "text", "the end", "nothing"],
)
def test_a_streamed_file_that_is_read_whole_takes_few_requests(monkeypatch, read, found):
    place, streams = Kept(), Streams()
    dataset = Dataset("large", "s3://b/large", Path("/data/large"), access=Access.STREAM)
    streams.serve(Streamed(dataset, (Object("s3://b/large", "", len(LARGE), "v"),), place))
    for name, value in {**environment(streams), "HEADRACE_MESSAGES": "there"}.items():
        monkeypatch.setenv(name, value)
    (file,) = headrace_client.open_dataset("large")
    with file.open() as opened:
        assert read(opened) == found
    assert place.requests <= 4
