"""What a script's own words, as Python and argparse say them here, are answered with."""

import subprocess
import sys
from pathlib import Path

import pytest

from headrace_trainer.launcher.failures.judge import ChildEnd, judge
from headrace_trainer.launcher.failures.last_words import last_words
from headrace_trainer.launcher.messages import ScriptException

READ_ON = "kubectl -n NAMESPACE logs POD -c trainer"


def raised_by(tmp_path, script: str) -> ChildEnd:
    """How a script that nobody follows ends."""
    file = tmp_path / "train.py"
    file.write_text(script)
    ended = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    return ChildEnd(ended.returncode, 0, is_followed=False, log_tail=ended.stderr)


NOTEBOOK = {
    "get_ipython": "get_ipython().system('pip install seaborn')",
    "magic": "x = 1\n%matplotlib inline\n",
    "shell": "!pip install -q seaborn\n",
    "indented": "if True:\n    !pip install -q seaborn\n",
    "await": "import asyncio\nawait asyncio.sleep(0)\n",
    "display": "display([1])",
}


@pytest.mark.parametrize("case", NOTEBOOK)
def test_a_notebook_is_recognized(tmp_path, case):
    failure = judge(raised_by(tmp_path, NOTEBOOK[case]))
    assert failure is not None
    assert "exported notebook" in failure.hint


def test_the_hint_of_a_followed_script_is_the_same(tmp_path):
    said = raised_by(tmp_path, NOTEBOOK["shell"])
    followed = ChildEnd(1, 0, exception=last_words(said.log_tail))
    assert judge(followed) is not None
    assert judge(followed).hint == judge(said).hint


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("x = (1,\n", "ScriptInvalid"),
        ("if True:\nx = 1\n", "ScriptInvalid"),
        ("eval('(1,')", "ScriptRaised"),
        ("import ast; ast.literal_eval('!x')", "ScriptRaised"),
        ("raise SyntaxError('of a grammar')", "ScriptRaised"),
    ],
)
def test_what_is_no_python_is_another_reason_than_a_text_that_the_script_reads(tmp_path, script, reason):
    failure = judge(raised_by(tmp_path, script))
    assert failure is not None
    assert failure.reason == reason


DOWNLOADS = {
    "urllib": "raise urllib.error.URLError(socket.gaierror(-3, 'Temporary failure in name resolution'))",
    "socket": "raise socket.gaierror(-2, 'Name or service not known')",
    "keras": "raise Exception('URL fetch failure on https://storage.example.com/mnist.npz: None -- [Errno -2] x')",
    "requests": "raise ConnectionError('Max retries exceeded with url: /: Failed to resolve (Caused by)')",
}


@pytest.mark.parametrize("case", DOWNLOADS)
def test_a_download_without_internet_is_told_where_data_comes_from(tmp_path, case):
    failure = judge(raised_by(tmp_path, f"import socket, urllib.error\n{DOWNLOADS[case]}"))
    assert failure is not None
    assert "spec.datasets" in failure.hint


ARGUMENTS = {
    "a list of numbers": ("'--hidden', nargs='+', type=int", "--hidden=64 32", "json.loads"),
    "numbers with commas": ("'--hidden', type=int", "--hidden=64,32", "json.loads"),
    "two numbers": ("'--size', nargs=2, type=int", "--size=64", "json.loads"),
    "a flag": ("'--fast', action='store_true'", "--fast=true", "store_true"),
    "a positional": ("'command'", "--command=fit", "--command"),
    "a number that is none": ("'--hidden', type=int", "--hidden=3.5", READ_ON),
    "one that is missing": ("'--rate', required=True", "", READ_ON),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_that_argparse_refuses_is_told_how_parameters_arrive(tmp_path, case):
    declared, given, hint = ARGUMENTS[case]
    parse = f"import argparse; p = argparse.ArgumentParser(); p.add_argument({declared}); p.parse_known_args({[given]})"
    failure = judge(raised_by(tmp_path, parse))
    assert failure is not None
    assert hint in failure.hint


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--dropuot=0.3"], "Did you mean --dropout in place of --dropuot? "),
        (
            ["--dropuot=0.3", "--learnin_rate=1", "--zzz=--dropout"],
            "Did you mean --dropout in place of --dropuot, --learning-rate in place of --learnin_rate? ",
        ),
        (["--zzz=1"], ""),
        (["--nope=1"], ""),
    ],
)
def test_an_unknown_argument_is_told_the_similar_one_that_is_declared(tmp_path, given, meant):
    names = ("epochs", "batch", "dropout", "learning-rate", "pause")
    declared = "".join(f"p.add_argument('--{name}')\n" for name in names)
    script = f"import argparse\np = argparse.ArgumentParser()\n{declared}p.parse_args({given})"
    failure = judge(raised_by(tmp_path, script))
    assert failure is not None
    assert failure.hint == f"{meant}Each parameter is passed as --NAME=VALUE: " + (
        "declare it in the script, as with parser.add_argument('--NAME'), or remove it from spec.parameters."
    )


LOST = "Only what the script writes below its working directory goes with a checkpoint"


@pytest.mark.parametrize(
    ("exception", "message", "is_lost"),
    [
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/tmp/best.json'", True),
        (
            "FileNotFoundError",
            "[Errno 2] Unable to synchronously open file (unable to open file: name = '/tmp/best.weights.h5', "
            "errno = 2, error message = 'No such file or directory', flags = 0, o_flags = 0)",
            True,
        ),
        (
            "NotFoundError",
            "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for /tmp/a/ckpt-3",
            True,
        ),
        (
            "ValueError",
            "File not found: filepath=/tmp/best.keras. Please ensure the file is an accessible `.keras` zip file.",
            True,
        ),
        ("FileNotFoundError", "there is no such thing", True),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '../best.json'", True),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/work/run/best.json'", False),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'best.json'", False),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/data/faces/train.csv'", False),
        ("ValueError", "there is no such file: /tmp/best.json", False),
    ],
)
def test_a_file_that_an_earlier_attempt_wrote_elsewhere_has_a_hint(exception, message, is_lost):
    raised = ScriptException(0, exception, message, None, "")
    resumed, first = (
        judge(ChildEnd(1, 10, exception=raised, resumed_in=folder)) for folder in (Path("/work/run"), None)
    )
    assert resumed is not None
    assert first is not None
    assert (LOST in resumed.hint) is is_lost
    assert LOST not in first.hint
