"""The program of a given model's job, as its pod runs it: which files it hands over."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from given_models import decoder, save_onnx, saved_model
from headrace.adding.given import look
from headrace.adding.request import Origin

CLIENT = str(Path(__file__).parents[3] / "runtimes" / "client")


@pytest.fixture
def hand_over(tmp_path):
    """Puts what was looked at where a pod finds it, with its manifest; the files that were handed over."""

    def run(given):
        at, exported = tmp_path / "data" / "model", tmp_path / "work" / "export"
        exported.mkdir(parents=True)
        (messages := tmp_path / "messages").touch()
        for file in given.files:
            (at / file.path).parent.mkdir(parents=True, exist_ok=True)
            (at / file.path).write_bytes((given.folder / file.path).read_bytes())
        (at / "manifest.json").write_bytes(given.manifest)
        parameters = Origin("s3://b/k/", digest=given.digest, given="x", file=given.file).parameters
        program = tmp_path / "program.py"
        program.write_text(files("headrace.adding").joinpath("program.txt").read_text())
        done = subprocess.run(
            [sys.executable, program, f"--at={at}", *(f"--{name}={text}" for name, text in parameters.items())],
            env={
                **os.environ,
                "PYTHONPATH": CLIENT,
                "HEADRACE_EXPORT_DIR": str(exported),
                "HEADRACE_MESSAGES": str(messages),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return {path.relative_to(exported).as_posix(): path.read_bytes() for path in exported.rglob("*.*")}

    return run


@pytest.mark.parametrize(("name", "weights"), [("theirs.pb", None), ("theirs.pb", "w.bin"), ("a.onnx", "w.onnx")])
def test_an_onnx_file_is_found_by_its_name_whatever_that_is(hand_over, tmp_path, name, weights):
    path = save_onnx(tmp_path / name, weights)
    handed = hand_over(look(path))
    expected = {"onnx/model.onnx": path} | ({f"onnx/{weights}": tmp_path / weights} if weights else {})
    assert handed == {at: source.read_bytes() for at, source in expected.items()}


def test_a_saved_model_is_handed_over_without_the_manifest_of_the_upload(hand_over, tmp_path):
    folder = saved_model(tmp_path / "saved")
    (folder / "assets").mkdir()
    (folder / "assets" / "manifest.json").write_text("theirs")
    handed = hand_over(look(folder))
    assert sorted(handed) == ["tensorflow/assets/manifest.json", "tensorflow/saved_model.pb"]
    assert all(not (tmp_path / "work" / "export" / name).is_symlink() for name in handed)


def test_a_decoder_is_handed_over_as_it_is(hand_over, tmp_path):
    folder = decoder(tmp_path / "writer")
    handed = hand_over(look(folder))
    assert handed == {f"text/{path.name}": path.read_bytes() for path in folder.iterdir()}
