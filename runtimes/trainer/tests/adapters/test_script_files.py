"""What the script has written goes with its checkpoints, within bounds, and is there again when it goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from headrace_trainer.adapters import checkpoint, script_files
from headrace_trainer.adapters.checkpoint import Position, Snapshot, Writer
from headrace_trainer.adapters.script_files import ScriptFile, ScriptFiles
from thorough import thorough


class Directory:
    """A working directory with the copies of it beside a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.work, self.checkpoints = path / "work", path / "work" / ".headrace" / "checkpoints"
        self.checkpoints.mkdir(parents=True)
        self.warnings: list[str] = []

    def write(self, name: str, content: str) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def begin(self) -> ScriptFiles:
        store = checkpoint.copies(self.checkpoints)
        return ScriptFiles(self.work, [self.checkpoints], store, self.warnings.append)

    def save(self, files: ScriptFiles, number: int = 1) -> Path:
        captured = files.capture(forget_older=True)
        position = Position(0, 0, 0, number)
        return checkpoint.write(self.checkpoints, Snapshot(number, position, True, {}, {}, files=captured), 0)

    def go_on_from(self, folder: Path) -> ScriptFiles:
        files = self.begin()
        files.go_on_from(folder / checkpoint.FILES, checkpoint.read(folder).snapshot.files)
        files.put_back()
        return files


@pytest.fixture
def first(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "second")


def names(captured: tuple[ScriptFile, ...]) -> set[str]:
    return {file.path for file in captured}


def test_what_was_written_is_there_again_with_its_mode_and_time(first, second):
    files = first.begin()
    first.write("best.weights.h5", "weights")
    script = first.write("out/run.sh", "#!/bin/sh")
    script.chmod(0o750)
    os.utime(script, ns=(1_000_000_000, 1_000_000_000))
    second.go_on_from(first.save(files))
    found = second.work / "out" / "run.sh"
    assert (second.work / "best.weights.h5").read_text() == "weights"
    assert (found.read_text(), found.stat().st_mode & 0o777, found.stat().st_mtime) == ("#!/bin/sh", 0o750, 1.0)


def test_what_was_there_before_the_script_is_not_carried_until_it_is_changed(first):
    first.write("given", "as it came")
    first.write("changed", "as it came")
    files = first.begin()
    first.write("changed", "by the script")
    assert names(files.capture(forget_older=True)) == {"changed"}


def test_a_checkpoint_has_the_files_of_its_moment(first, second):
    files = first.begin()
    first.write("log", "1")
    older = first.save(files, 1)
    first.write("log", "2")
    newer = first.save(files, 2)
    second.go_on_from(older)
    assert (second.work / "log").read_text() == "1"
    second.go_on_from(newer)
    assert (second.work / "log").read_text() == "2"


def test_a_file_that_was_put_back_goes_with_the_next_checkpoint_too(first, second):
    files = first.begin()
    first.write("best", "weights")
    resumed = second.go_on_from(first.save(files))
    assert names(resumed.capture(forget_older=True)) == {"best"}


def test_a_file_that_has_not_changed_is_copied_once_and_old_copies_go(first):
    files = first.begin()
    os.utime(first.write("kept", "a"), ns=(1, 1))
    first.write("changing", "a")
    before = {file.path: file.copy for file in files.capture(forget_older=True)}
    first.write("changing", "bb")
    after = {file.path: file.copy for file in files.capture(forget_older=True)}
    assert before["kept"] == after["kept"]
    assert before["changing"] != after["changing"]
    files.capture(forget_older=True)
    assert before["changing"] not in {copy.name for copy in checkpoint.copies(first.checkpoints).iterdir()}


def test_a_file_changed_in_place_within_a_tick_of_the_clock_is_copied_again(first):
    files = first.begin()
    path = first.write("log", "1")
    now = path.stat().st_mtime_ns
    files.capture(forget_older=True)
    path.write_text("2")
    os.utime(path, ns=(now, now))
    (file,) = files.capture(forget_older=True)
    assert files.copy_of(file).read_text() == "2"


def test_what_is_over_the_bounds_is_left_out_and_named_once(first, monkeypatch):
    monkeypatch.setattr(script_files, "MOST_BYTES", 10)
    monkeypatch.setattr(script_files, "MOST_FILES", 2)
    files = first.begin()
    for age, (name, content) in enumerate([("new", "1"), ("large", "x" * 10), ("second", "2"), ("third", "3")]):
        os.utime(first.write(name, content), ns=(10**9 - age, 10**9 - age))
    assert names(files.capture(forget_older=True)) == {"new", "second"}
    (warning,) = first.warnings
    assert "large would be more than" in warning
    assert "third would be more than 2 files" in warning
    files.capture(forget_older=True)
    assert len(first.warnings) == 1


def test_links_are_not_followed_and_named(first, tmp_path):
    (tmp_path / "secret").write_text("not the script's")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("not the script's")
    files = first.begin()
    (first.work / "link").symlink_to(tmp_path / "secret")
    (first.work / "linked").symlink_to(tmp_path / "folder")
    assert files.capture(forget_older=True) == ()
    assert "link is a link" in first.warnings[0]
    assert "linked is a link" in first.warnings[0]


def test_a_file_is_not_put_back_through_a_link(first, second, tmp_path):
    files = first.begin()
    first.write("out/a", "a")
    first.write("b", "b")
    folder = first.save(files)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "other").write_text("other")
    (second.work / "out").symlink_to(tmp_path / "elsewhere")
    (second.work / "b").symlink_to(tmp_path / "other")
    second.go_on_from(folder)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "other").read_text() == "other"
    assert (second.work / "b").read_text() == "b"
    assert "out/a could not be put back: out is a link" in second.warnings[0]


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/a", "", "a//b", "./a", "a\0"])
def test_a_path_that_leads_out_is_refused(path):
    with pytest.raises(ValueError, match="names the file"):
        ScriptFile(path, "000001", 0o600, 0)


def test_a_copys_name_that_leads_out_is_refused():
    with pytest.raises(ValueError, match="names the file"):
        ScriptFile("a", "../a", 0o600, 0)


def test_a_name_that_is_no_text_is_carried(first, second):
    name = os.fsdecode(b"caf\xe9")
    files = first.begin()
    first.write(name, "a")
    second.go_on_from(first.save(files))
    assert (second.work / name).read_text() == "a"


def test_a_file_that_is_held_open_goes_on_at_the_end_of_what_came_back(first, second):
    files = first.begin()
    first.write("log", "one\n")
    resumed = second.go_on_from(first.save(files))
    with (second.work / "log").open("w") as log:
        resumed.put_back()
        log.write("two\n")
    assert (second.work / "log").read_text() == "one\ntwo\n"


def test_copies_for_which_there_is_no_room_are_taken_away(first, monkeypatch):
    files = first.begin()
    os.utime(first.write("kept", "a"), ns=(1, 1))
    kept = files.capture(forget_older=True)
    first.write("new", "b")
    first.write("newer", "c")
    pour = script_files._pour

    def full_at_the_second(source, target, size):
        pour(source, target, size)
        if target.name.endswith("000002"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(script_files, "_pour", full_at_the_second)
    with pytest.raises(OSError, match="No space"):
        files.capture(forget_older=True)
    assert [copy.name for copy in checkpoint.copies(first.checkpoints).iterdir()] == [file.copy for file in kept]


def test_a_disk_that_is_full_costs_the_checkpoint_and_nothing_stays_of_it(first, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    told: list[str] = []
    written: list[Path] = []
    writer = Writer(first.checkpoints, lambda folder, _: written.append(folder), told.append)
    with monkeypatch.context() as context:
        context.setattr(checkpoint, "_write_json", full)
        writer.keep(0, checkpoint.FinishedFit({}, {"a": np.ones(3)}))
        writer.submit(Snapshot(1, Position(0, 0, 0, 1), True, {}, {}), 1)
        assert writer.wait(10)
    assert [path.name for path in first.checkpoints.iterdir()] == [".finished"]
    assert list((first.checkpoints / ".finished").iterdir()) == []
    assert told[0].startswith("the end of fit 0 could not be written, and what there was of it is taken away")
    assert told[1].startswith("the checkpoint ckpt-00000001 could not be written")
    writer.submit(Snapshot(2, Position(0, 0, 0, 2), True, {}, {}), 1)
    assert writer.wait(10)
    np.testing.assert_array_equal(checkpoint.read(written[0]).finished[0].arrays["a"], np.ones(3))


def test_what_a_killed_process_was_writing_is_taken_away_and_told(first):
    (first.checkpoints / ".ckpt-00000007.partial").mkdir()
    (first.checkpoints / ".ckpt-00000007.partial" / "arrays.npz").write_bytes(b"half")
    told: list[str] = []
    Writer(first.checkpoints, lambda *_: None, told.append)
    assert list(first.checkpoints.iterdir()) == []
    assert told == [".ckpt-00000007.partial had not been written to its end and is taken away"]


def test_a_script_finds_none_of_them_at_its_start(first, second):
    files = first.begin()
    first.write("checkpoints/best.keras", "model")
    folder = first.save(files)

    begun = second.begin()
    begun.go_on_from(folder / checkpoint.FILES, checkpoint.read(folder).snapshot.files)
    at_its_start = [path.name for path in second.work.iterdir()]
    begun.put_back()

    assert "checkpoints" not in at_its_start
    assert (second.work / "checkpoints" / "best.keras").read_text() == "model"


def test_a_cache_of_tf_data_that_is_being_filled_is_not_carried(first):
    files = first.begin()
    for name in ("cache/train_0.lockfile", "cache/train_0.data-00000-of-00001", "cache/train_0.index", "cache/other"):
        first.write(name, "x")
    assert names(files.capture(forget_older=True)) == {"cache/other"}


# --- a script that needs what it wrote, killed ---


def run(start_keras, directory: Path, name: str, **settings: object):
    return start_keras("writes_files.py", f"--result={directory / name}", seed=3, **settings)


def measured(child) -> dict[str, float]:
    """What was measured on the model that was exported."""
    (message,) = child.of_type("model")
    return message["metrics"]


@pytest.fixture(scope="module")
def undisturbed(start_keras, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, float]]:
    """What the script writes at its end, and what gates would judge: the epoch whose weights were loaded again."""
    directory = tmp_path_factory.mktemp("undisturbed")
    child = run(start_keras, directory, "result.json", export_dir=directory / "model", formats="TensorFlow")
    assert child.wait() == 0, child.stderr[-3000:]
    losses = [message["metrics"]["val_loss"] for message in child.of_type("epoch")]
    assert measured(child)["val_loss"] == min(losses) < losses[-1]
    return (directory / "result.json").read_text(), measured(child)


@pytest.mark.parametrize("place", ["mid-epoch", thorough("epoch-end"), "after-the-fit", "second-fit"])
def test_a_script_that_needs_its_files_ends_as_if_nothing_had_happened(place, undisturbed, start_keras, tmp_path):
    conditions = {
        "mid-epoch": lambda m: m["type"] == "checkpoint" and m["step"] > 30 and m["step"] % 10,
        "epoch-end": lambda m: m["type"] == "checkpoint" and m["step"] == 40,
        "after-the-fit": lambda m: m["type"] == "evaluate",
        "second-fit": lambda m: m["type"] == "checkpoint" and m["fit"] == 1 and m["step"] % 10,
    }
    interval = 0.01 if place == "epoch-end" else 0.1
    killed = run(start_keras, tmp_path, "a", checkpoint_dir=tmp_path / "checkpoints", checkpoint_interval=interval)
    killed.wait_until(lambda messages: any(conditions[place](m) for m in messages))
    killed.signal(signal.SIGKILL)
    killed.wait()
    newest = max((tmp_path / "checkpoints").glob("ckpt-*"))
    export = {"export_dir": tmp_path / "model", "formats": "TensorFlow"}
    resumed = run(start_keras, tmp_path, "result.json", resume_dir=newest, **export)
    assert resumed.wait() == 0, resumed.stderr[-3000:]
    assert ((tmp_path / "result.json").read_text(), measured(resumed)) == undisturbed
