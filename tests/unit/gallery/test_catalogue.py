"""The examples as the command reads them: from a checkout and from an installed package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import TrainingJob
from headrace.gallery.catalogue import FOLDER, UnknownExample, example, examples

REPOSITORY = Path(__file__).resolve().parents[3]
NAMES = [each.name for each in examples()]


def test_all_folders_of_examples_are_found():
    assert sorted(path.name for path in (REPOSITORY / "examples").iterdir() if path.is_dir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_all_that_the_command_needs(name):
    found = example(name)
    jobs = [TrainingJob.model_validate(job) for job in found.jobs]
    services = [ModelService.model_validate(service) for service in found.services]
    trained = {job.spec.output.model for job in jobs if job.spec.output is not None}
    assert {service.spec.model.registry.name for service in services if service.spec.model.registry} == trained
    assert all(job.spec.evaluation is not None for job in jobs)
    assert found.client.is_file()
    assert found.title


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_an_example_says_what_it_is_what_it_costs_and_how_to_go_on(name):
    lines = (FOLDER / name / "README.md").read_text(encoding="utf-8").splitlines()
    assert {"task", "data", "cost, score"} <= {line.split(" | ")[0].removeprefix("| ") for line in lines}
    assert [line for line in lines if line.startswith("## ")][-2:] == ["## What to change", "## At size"]
    assert f"$ headrace example run {name} --namespace demo" in lines


@pytest.mark.parametrize("name", NAMES)
def test_a_client_wants_no_more_than_the_command_that_is_printed_names(name, tmp_path):
    (tmp_path / "vocab.json").write_text('["", "this"]')  # what prepare.py of text-generator leaves
    command = [sys.executable, "-I", "-S", str(example(name).client), "http://127.0.0.1:1", "model"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Connection refused" in done.stderr


def test_the_scripts_of_all_jobs_are_in_one_config_map_and_come_first():
    config_map, *others = [wanted for _, wanted in example("tabular").objects("team-a", "team-a")]
    assert sorted(config_map["data"]) == ["boosting.py", "train.py"]
    assert [each["kind"] for each in others] == ["TrainingJob", "TrainingJob", "ModelService", "ModelService"]
    assert {each["metadata"]["namespace"] for each in (config_map, *others)} == {"team-a"}


def test_the_data_of_an_example_lie_in_the_tenants_bucket():
    found = example("text-generator")
    _, (_, job), _ = found.objects("team-a", "bucket-of-a")
    assert job["spec"]["datasets"] == [{"name": "corpus", "uri": "s3://bucket-of-a/text-generator/corpus.npz"}]
    assert found.datasets("bucket-of-a") == ("s3://bucket-of-a/text-generator/corpus.npz",)


def test_packages_that_an_example_asks_for_go_with_its_script(tmp_path):
    shutil.copytree(FOLDER / "digits", tmp_path / "digits")
    (tmp_path / "digits" / "requirements.txt").write_text("xgboost\n")
    _, config_map = example("digits", tmp_path).objects("team-a", "team-a")[0]
    assert config_map["data"]["requirements.txt"] == "xgboost\n"


def test_a_name_that_there_is_not_is_answered_with_those_that_there_are():
    with pytest.raises(UnknownExample, match=r"no example 'digit'; there are .*digits, "):
        example("digit")


@pytest.mark.timeout(120)
def test_the_wheel_has_every_file_of_the_examples(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tree)
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    for name in ("operator", "runtimes/common", "examples"):
        shutil.copytree(REPOSITORY / name, tree / name, symlinks=True, ignore=ignored)
    build = "import setuptools.build_meta as build, sys; print(build.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("headrace/examples/")}
    there = {path for path in (REPOSITORY / "examples").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert packed == {f"headrace/examples/{path.relative_to(REPOSITORY / 'examples')}" for path in there}
