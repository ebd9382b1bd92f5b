"""An instance's folders go: never through a mount, and the large ones out of sight at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace_local import folders

REMOVALS = (folders.remove, folders.remove_in_background)


def _wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while os.listdir(folder):
        assert time.monotonic() < deadline, f"still there: {os.listdir(folder)}"
        time.sleep(0.02)


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_folder_goes_with_all_that_is_in_it(remove: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "images" / "one" / "snapshots").mkdir(parents=True)
    (tmp_path / "images" / "one" / "snapshots" / "file").touch()

    remove(tmp_path / "images" / "one")

    assert not (tmp_path / "images" / "one").exists()
    _wait_until_empty(tmp_path / "images")


@pytest.mark.parametrize("remove", REMOVALS)
def test_what_is_not_there_is_gone_already(remove: Callable[[Path], None], tmp_path: Path) -> None:
    remove(tmp_path / "absent")


def test_the_name_is_free_before_the_files_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: commands.append(command))
    (tmp_path / "one").mkdir()

    folders.remove_in_background(tmp_path / "one")

    (left,) = tmp_path.iterdir()
    assert left.name != "one"
    assert commands == [["nice", "rm", "-rf", "--", str(left)]]


def test_what_an_earlier_removal_left_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as switched_off:
        switched_off.setattr(subprocess, "Popen", lambda *_, **__: None)
        (tmp_path / "one").mkdir()
        folders.remove_in_background(tmp_path / "one")
    assert os.listdir(tmp_path)

    folders.remove_in_background(tmp_path / "two")

    _wait_until_empty(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("remove", ["remove", "remove_in_background"])
def test_nothing_is_removed_through_a_mount(remove: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "kept").touch()
    (tmp_path / "one" / "volume").mkdir(parents=True)
    script = (
        "from pathlib import Path; import sys; from headrace_local import folders;"
        "getattr(folders, sys.argv[1])(Path(sys.argv[2]))"
    )
    # In a namespace of its own: the mount goes with it.
    inside = 'mount --bind "$1" "$2/volume" && exec "$3" -c "$4" "$5" "$2"'
    words = [tmp_path / "theirs", tmp_path / "one", sys.executable, script, remove]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside, "sh", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "is mounted below" in done.stderr
    assert (tmp_path / "theirs" / "kept").exists()
