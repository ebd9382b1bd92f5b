"""The program: commands from packages, failures in one line, exit codes."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import yaml

from headrace.cli import main as program
from headrace.cli.command import GROUP, load
from headrace.cli.errors import CommandError


class Greet:
    name = "greet"
    help = "say hello"

    def configure(self, parser):
        parser.add_argument("--fail", default="")

    def run(self, args):
        if args.fail == "interrupt":
            raise KeyboardInterrupt
        if args.fail:
            raise CommandError(f"{args.fail}\nand more", 2)
        print("hello")
        return 0


@pytest.fixture
def greet(monkeypatch):
    monkeypatch.setattr(program, "load", lambda entries: [Greet()])


def test_a_package_adds_a_command(greet, capsys):
    assert program.main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_a_failure_is_one_line_and_its_exit_code(greet, capsys):
    assert program.main(["greet", "--fail", "no such thing"]) == 2
    assert capsys.readouterr().err == "error: no such thing and more\n"


def test_an_interrupt_is_no_traceback(greet, capsys):
    assert program.main(["greet", "--fail", "interrupt"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_command_that_cannot_be_loaded_does_not_take_the_others_with_it(monkeypatch, capsys):
    broken = EntryPoint("gone", "no_such_package:Command", GROUP)
    monkeypatch.setattr(program, "load", lambda entries: load([broken]))
    assert program.main(["version"]) == 0
    assert program.main(["gone", "--some", "flags"]) == 1
    assert "command gone (no_such_package:Command) cannot be loaded" in capsys.readouterr().err


def test_a_typo_is_a_usage_error():
    with pytest.raises(SystemExit) as ended:
        program.main(["tenants"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("contents", "flags", "said"),
    [
        (None, [], "does not exist"),
        (None, ["--context", "prod"], "No such file"),
        ("contexts: []", ["--context", "prod"], "has no context 'prod'; it has none"),
        ("{contexts: [{name: kind}, {name: local}]}", ["--context", "prod"], "it has kind, local"),
        ("[", ["--context", "prod"], "is not YAML"),
        ("", ["--context", "prod"], "is empty"),
        ("{}", [], "kubeconfig"),
    ],
)
def test_a_kubeconfig_that_will_not_do_is_a_usage_error_in_one_line(tmp_path, capsys, contents, flags, said):
    path = tmp_path / "config"
    if contents is not None:
        path.write_text(contents)
    assert program.main(["tenant", "list", "--kubeconfig", str(path), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_context_is_chosen_in_a_copy_that_finds_its_files_and_is_gone_afterwards(tmp_path):
    from headrace.cli.cluster import _kubeconfig

    path = tmp_path / "config"
    found = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {}}, {"name": "b", "context": {}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "pki/ca.crt"}}],
        "users": [{"name": "u", "user": {"client-key": "/absolute.key"}}],
    }
    path.write_text(yaml.safe_dump(found))
    with _kubeconfig(path, "b") as copy:
        selected = yaml.safe_load(copy.read_text())
        assert selected["current-context"] == "b"
        assert selected["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "pki" / "ca.crt")
        assert selected["users"][0]["user"]["client-key"] == "/absolute.key"
        assert copy.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    assert yaml.safe_load(path.read_text()) == found


def test_output_that_nobody_reads_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        command = [sys.executable, "-m", "headrace.cli.main", "version"]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (program.NOBODY_READS, b"")
