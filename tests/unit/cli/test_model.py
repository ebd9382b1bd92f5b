"""`headrace model add`: what it says before it asks any cluster, and of the version that came out."""

from __future__ import annotations

import pytest

from headrace.adding.request import Wish
from headrace.cli.main import main
from headrace.cli.model import told

JOB = {
    "metadata": {"name": "add-theirs-1"},
    "spec": {"output": {"formats": ["ONNX"]}},
    "status": {"model": {"name": "team-a.theirs", "version": "3", "digest": "sha256:1"}},
}


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["nowhere.onnx"], "there is no nowhere.onnx: name an ONNX file", 1),
        (["models:/theirs/1"], "models:/ is not read yet: download the model's folder", 2),
        (["ftp://host/a.onnx"], "addresses begin with s3://, gs://, az://, https://", 2),
        (["https://host/a.onnx"], "a file on the web needs --sha256", 2),
        (["s3://bucket/folder"], "a folder ends with /, a file with .onnx", 2),
        (["s3://bucket/a.onnx", "--sha256", "1"], "--sha256 is of a file at https://", 2),
        (["s3://bucket/a.onnx", "--evaluate", "nowhere.yaml"], "nowhere.yaml cannot be read", 2),
    ],
)
def test_what_is_asked_for_wrongly_is_told_on_one_line(arguments, said, code, capsys):
    assert main(["model", "add", *arguments, "--name", "theirs", "--namespace", "team-a"]) == code
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_the_version_is_told_with_the_lines_that_serve_it():
    assert told(JOB, Wish("team-a", "theirs", "added")) == [
        "version 3 of team-a.theirs (sha256:1)",
        "In a ModelService:",
        "  spec:",
        '    model: {registry: {name: theirs, version: "3"}}',
        "    runtime: {name: onnxruntime}",
    ]


def test_who_has_to_approve_is_told_how():
    lines = told(JOB, Wish("team-a", "theirs", "added", alias="candidate", needs_approval=True))
    assert lines[1] == "it waits for an approval: headrace approve add-theirs-1 -n team-a"
    assert "    model: {registry: {name: theirs, alias: candidate}}" in lines
