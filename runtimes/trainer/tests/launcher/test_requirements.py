"""What is read in a requirements file, and what is never told of an address."""

import pytest

from headrace_trainer.launcher.packages.requirements import added, entries, options_of
from headrace_trainer.launcher.packages.uv import redacted


def test_options_are_found_wherever_they_stand_and_requirements_are_left_to_uv(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "numpy  # -i http://comment\n  --extra-index-url \\\n  https://a.example/simple # why\n-r more/x.txt\n-e .\n"
        "--require-hashes\n-cconstraints.txt\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more/x.txt").write_text(
        "-r ../requirements.txt\n--find-links=wheels\n-f https://b.example/x\n-r gone.txt\n"
    )
    (tmp_path / "constraints.txt").write_text("numpy<3\n--pre\n")

    options = options_of(tmp_path / "requirements.txt")

    assert [line.split() for line in options.lines] == [
        ["--extra-index-url", "https://a.example/simple"],
        [f"--find-links={tmp_path}/more/wheels"],
        ["-f", "https://b.example/x"],
        ["--pre"],
    ]
    assert not options.name_an_index


@pytest.mark.parametrize("line", ["-i http://a", "-ihttp://a", "--index-url http://a", "--index-url=http://a"])
def test_a_file_that_names_its_index(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(f"{line}\nnumpy\n")

    assert options_of(tmp_path / "requirements.txt").name_an_index


def test_what_uv_would_add_is_read_and_what_it_would_take_away_is_not():
    said = "Would install 3 packages\n - six==1.0\n + six==2.0\n + tiny-two @ file:///x.whl\n ~ Again==1 (from x)\n"

    assert added(said) == {"six": "2.0", "tiny-two": "", "again": "1"}


def test_the_entries_of_a_lock():
    assert entries("a==1 \\\n    --hash=sha256:0\n./b-1-py3-none-any.whl\n") == ["a==1", "./b-1-py3-none-any.whl"]


KEPT = ["http://127.0.0.1:8080/simple/x/", "https://pypi.org/simple", "http://host:80", "see https://a (b: c)"]
SECRET = [
    "https://me:secret@host/simple",
    "https://secret@host/simple",
    "https://me:se@secret@host:8080/simple",
    "https://me:sec/secret@host",
    "git+https://${USER}:secret@host/x.git",
    "--index-url http://me:secret",
    "//me:0secret",
    "`http://me:secret`",
]


@pytest.mark.parametrize("text", KEPT)
def test_an_address_is_told(text):
    assert redacted(text) == text


@pytest.mark.parametrize("text", SECRET)
def test_a_password_is_not_told(text):
    assert "secret" not in redacted(text)
