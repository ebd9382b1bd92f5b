"""`headrace model add`: what it says before it asks any cluster, and of the version that came out."""

from __future__ import annotations

import pytest

from headrace.adding.request import Wish
from headrace.cli.main import main
from headrace.cli.model import evaluation, told

JOB = {
    "metadata": {"name": "add-theirs-1"},
    "spec": {"output": {"formats": ["ONNX"]}},
    "status": {"model": {"name": "team-a.theirs", "version": "3", "digest": "sha256:1"}},
}


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["nowhere.onnx"], "there is no nowhere.onnx: name an ONNX file", 1),
        (["models:/theirs/1"], "models:/ needs --mlflow-url, or MLFLOW_TRACKING_URI", 2),
        (["models:/theirs/1", "--mlflow-url", "sqlite:///a.db"], "--mlflow-url 'sqlite:///a.db' is no address", 2),
        (["models:/theirs/1", "--mlflow-url", "http://me:word@host"], "--mlflow-url http://***@host has a user", 2),
        (["models:/theirs/1", "--sha256", "1"], "--sha256 is of a file at https://", 2),
        (["models:/theirs/latest"], "has to be like models:/NAME/VERSION or models:/NAME@ALIAS", 2),
        (["ftp://host/a.onnx"], "addresses begin with s3://, gs://, az://, https://", 2),
        (["https://host/a.onnx"], "a file on the web needs --sha256", 2),
        (["s3://bucket/folder"], "a folder ends with /, a file with .onnx", 2),
        (["s3://bucket/a.onnx", "--format", "Text"], "--format is of a folder at an address", 2),
        (["nowhere/", "--format", "Text"], "--format is of a folder at an address", 2),
        (["s3://bucket/a.onnx", "--sha256", "1"], "--sha256 is of a file at https://", 2),
        (["s3://bucket/a.onnx", "--evaluate", "nowhere.yaml"], "nowhere.yaml cannot be read", 2),
        (["s3://bucket/a.onnx", "--memory", "much"], "--memory 'much' must be a quantity such as 500m, 2 or 4Gi", 2),
        (["https://me:word@host/a.onnx", "--sha256", "1" * 64], "without a user or password in it", 2),
        (["https://host/a.onnx", "--sha256", "1"], "--sha256 '1' must be 64 hex digits", 2),
        # What is no file either: a wrong argument is told before anything is looked at.
        (["nowhere.onnx", "--name", "Their's"], '--name "Their\'s" must be lower-case letters, digits and dashes', 2),
        (["nowhere.onnx", "--name", "a" * 64], "must have at most 63 characters", 2),
        (["nowhere.onnx", "--alias", "1st"], "--alias '1st' must be lower-case letters", 2),
        (["nowhere.onnx", "--alias", ""], "there is no nowhere.onnx", 1),
        (["nowhere.onnx", "--experiment", ""], "--experiment '' must be lower-case letters", 2),
        (["nowhere.onnx", "--namespace", "a/b"], "--namespace 'a/b' must be lower-case letters", 2),
        (["nowhere.onnx", "--secret", "a b"], "--secret 'a b' must be a name", 2),
        (["nowhere.onnx", "--s3-url", "http://host:99999"], "--s3-url 'http://host:99999' is no address", 2),
        (["nowhere.onnx", "--service-account", "a b"], "--service-account 'a b' must be a name", 2),
    ],
)
def test_what_is_asked_for_wrongly_is_told_on_one_line(arguments, said, code, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["model", "add", "--name", "theirs", "--namespace", "team-a", *arguments]) == code
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_a_password_in_an_address_is_not_told_again(capsys):
    assert main(["model", "add", "ftp://me:word@host/a?key", "--name", "theirs"]) == 2
    assert "ftp://host/a: addresses begin with" in (errors := capsys.readouterr().err)
    assert "word" not in errors
    assert "key" not in errors


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "evaluate:", "evaluate: {}", "evaluate: [1]", "[task]", "task", "evaluate: {task: C}\nkind: J"),
        *("task: 2026-01-01", "evaluate: {task: .nan}", "&a {task: *a}"),
    ],
)
def test_a_file_of_an_evaluation_that_has_none_is_refused_and_says_what_it_should_have(text, tmp_path, capsys):
    (file := tmp_path / "evaluate.yaml").write_text(text)
    assert main(["model", "add", "nowhere.onnx", "--name", "theirs", "--evaluate", str(file)]) == 2
    errors = capsys.readouterr().err
    assert str(file) in errors
    assert "spec.evaluate of a TrainingJob" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("text", ["{task: Classification}", "evaluate: {task: Classification}"])
def test_an_evaluation_may_stand_under_its_name_or_alone(text, tmp_path):
    (file := tmp_path / "evaluate.yaml").write_text(text)
    assert evaluation(file) == {"task": "Classification"}


def test_the_version_is_told_with_the_lines_that_serve_it():
    assert told(JOB, Wish("team-a", "theirs", "added")) == [
        "version 3 of team-a.theirs (sha256:1)",
        "In a ModelService:",
        "  spec:",
        '    model: {registry: {name: theirs, version: "3"}}',
        "    runtime: {name: onnxruntime}",
    ]


def test_a_decoder_is_served_by_the_server_of_texts():
    job = {**JOB, "spec": {"output": {"formats": ["Text"]}}}
    assert told(job, Wish("team-a", "theirs", "added"))[-1] == "    runtime: {name: text}"


def of_approval(**approval):
    job = {**JOB, "status": {"model": {**JOB["status"]["model"], "approval": {"required": True, **approval}}}}
    return told(job, Wish("team-a", "theirs", "added", alias="candidate", needs_approval=True))


def test_who_has_to_approve_is_told_how():
    lines = of_approval(state="Awaiting")
    assert lines[1] == "it waits for an approval: headrace approve add-theirs-1 -n team-a"
    assert "    model: {registry: {name: theirs, alias: candidate}}" in lines


def test_what_was_decided_is_told_and_not_asked_for_again():
    approved = of_approval(state="Approved", by="ann")
    assert approved[1] == "it was approved by ann"
    assert "    model: {registry: {name: theirs, alias: candidate}}" in approved
    refused = of_approval(state="Refused", by="ann", reason="too old")
    assert refused == ["version 3 of team-a.theirs (sha256:1)", "it was refused by ann: too old"]
