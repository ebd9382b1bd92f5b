"""Whether a file was written by the job: by when its bytes came to where they are, and by what a .keras file says."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from headrace_trainer.adapters import checkpoint
from headrace_trainer.adapters.checkpoint import Position, Snapshot
from headrace_trainer.adapters.own_files import was_written_since

HOUR = 3600.0


def keras_file(path: Path, made: float) -> Path:
    described = {"keras_version": "3.15.1", "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S", time.localtime(made))}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", json.dumps(described))
    return path


def test_a_file_of_before_is_not_the_jobs_and_one_of_now_is(tmp_path):
    path = tmp_path / "best.weights.h5"
    path.write_bytes(b"weights")
    assert was_written_since(path, time.time() - HOUR)
    assert not was_written_since(path, time.time() + HOUR)


def test_a_file_that_was_put_back_with_the_time_that_it_had_is_the_jobs(tmp_path):
    path = tmp_path / "best.weights.h5"
    path.write_bytes(b"weights")
    os.utime(path, (time.time() - 2 * HOUR,) * 2)
    assert was_written_since(path, time.time() - HOUR)


def test_a_copy_of_a_model_that_was_made_before_is_not_the_jobs(tmp_path):
    now = time.time()
    assert not was_written_since(keras_file(tmp_path / "production.keras", now - 2 * HOUR), now - HOUR)
    assert was_written_since(keras_file(tmp_path / "best.keras", now), now - HOUR)


def test_a_model_that_was_made_in_the_second_in_which_the_job_began_is_the_jobs(tmp_path):
    began = time.time()
    assert was_written_since(keras_file(tmp_path / "best.keras", began), began - 0.01)


@pytest.mark.parametrize("variable", ["KERAS_HOME", "HOME"])
def test_what_is_downloaded_to_a_cache_is_not_the_jobs(tmp_path, monkeypatch, variable):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    folder = tmp_path if variable == "KERAS_HOME" else tmp_path / ".cache"
    path = folder / "models" / "imagenet.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert not was_written_since(path, time.time() - HOUR)


@pytest.mark.parametrize("name", ["gs://bucket/model.keras", "hf://someone/model", "gone.keras"])
def test_what_is_not_there_is_not_known_to_be_the_jobs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert not was_written_since(name, 0.0)


def test_a_checkpoint_says_when_the_job_began(tmp_path):
    snapshot = Snapshot(3, Position(0, 0, 3, 3), between_fits=True, state={}, arrays={})
    assert checkpoint.read(checkpoint.write(tmp_path, snapshot, 0, 1234.5)).began == 1234.5
    assert checkpoint.read(checkpoint.write(tmp_path, snapshot, 0)).began is None
