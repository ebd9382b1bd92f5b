"""Where a script of a preparation leaves its files."""

from pathlib import Path

import pytest

import headrace_client


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("HEADRACE_MESSAGES", "HEADRACE_DATASET_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_outside_of_a_pod_it_is_a_folder_of_the_working_directory(tmp_path):
    assert headrace_client.dataset_folder() == Path("prepared")
    assert (tmp_path / "prepared").is_dir()


def test_in_a_stage_of_preparation_it_is_the_one_that_becomes_the_dataset(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_MESSAGES", str(tmp_path / "messages"))
    monkeypatch.setenv("HEADRACE_DATASET_DIR", str(tmp_path / "work" / "dataset"))
    assert headrace_client.dataset_folder() == tmp_path / "work" / "dataset"


def test_in_another_stage_nothing_can_be_left_where_it_would_be_lost(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_MESSAGES", str(tmp_path / "messages"))
    with pytest.raises(RuntimeError, match="HEADRACE_DATASET_DIR"):
        headrace_client.dataset_folder()


def test_with_spark_there_is_no_folder_that_would_be_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_DATASET_DIR", "s3a://team-a/headrace/staging/uid/attempt-1")
    with pytest.raises(RuntimeError, match="write below s3a://team-a/headrace/staging/uid/attempt-1"):
        headrace_client.dataset_folder()
    assert not list(tmp_path.iterdir())


def test_what_came_of_declared_tables_lies_where_the_launcher_says(monkeypatch, tmp_path):
    assert headrace_client.tables_folder() == Path("tables")
    monkeypatch.setenv("HEADRACE_MESSAGES", str(tmp_path / "messages"))
    with pytest.raises(RuntimeError, match="HEADRACE_TABLES_DIR"):
        headrace_client.tables_folder()
    monkeypatch.setenv("HEADRACE_TABLES_DIR", str(tmp_path))
    assert headrace_client.tables_folder() == tmp_path
