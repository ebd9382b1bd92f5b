"""What a failure says of a script that has written to both of its streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_trainer.launcher.logtail import LogTail
from headrace_trainer.launcher.place import place_in

BOTH = {
    "a question": ("input('name? ')", "EOFError: EOF when reading a line"),
    "a bar": (
        "import sys\nfor i in range(9):\n    sys.stdout.write(f'\\r{i}/9')\nraise TypeError('no')",
        "TypeError: no",
    ),
    "a bar on stderr": ("import sys\nsys.stderr.write('\\r8/9')\nprint('so far')\nlen(3)", "TypeError: object of type"),
    "words before": (
        "import sys\nprint('ERROR: corpus not found', file=sys.stderr)\nprint('starting training')\nsys.exit(3)",
        "the script ended with exit code 3: ERROR: corpus not found",
    ),
    "stdout alone": ("import sys\nprint('corpus not found')\nsys.exit(3)", "exit code 3: corpus not found"),
    "a traceback on stdout": (
        "import sys, traceback\nprint('warned', file=sys.stderr)\n"
        "try:\n    len(3)\nexcept TypeError:\n    traceback.print_exc(file=sys.stdout)\n    sys.exit(1)",
        "TypeError: object of type",
    ),
}


@pytest.mark.parametrize("case", BOTH)
def test_the_cause_is_what_stderr_ends_with(program, case):
    script, message = BOTH[case]
    launched = program(script)
    assert launched.wait() == 1, launched.log
    told = launched.record["message"]
    assert message in told
    assert not any(words in told for words in ("name?", "/9", "starting", "so far", "warned"))


KERAS = (
    "Exception encountered when calling Sequential.call().\n\n\x1b[1mInvalid input shape for input "
    "Tensor(\x1b[38;5;9m3\x1b[0m).\x1b[0m\n\nArguments received:\n  \u2022 mask=None\x07"
)


@pytest.mark.parametrize("start", ["program", "launch"])
def test_a_message_is_one_line_without_what_steers_a_terminal(request, start):
    launched = request.getfixturevalue(start)(f"raise ValueError({KERAS!r})")
    assert launched.wait() == 1, launched.log
    assert launched.record["message"].startswith(
        "ValueError: Exception encountered when calling Sequential.call(). Invalid input shape for input Tensor(3). "
        "Arguments received: \u2022 mask=None"
    )
    assert "\x1b" not in launched.record["logTail"]


PLACES = {
    "in the script": ({}, "import json\n\n\njson.loads('{')", "(train.py, line 4)"),
    "in a module of its own": (
        {"parts/data.py": "def read():\n    open('/no/such')"},
        "from parts import data\ndata.read()",
        "(parts/data.py, line 2)",
    ),
    "far below": (
        {},
        "import copy\nvalue = iter(i for i in ())\nfor _ in range(60):\n    value = [value]\ncopy.deepcopy(value)",
        "(train.py, line 5)",
    ),
    "a package that is missing": ({}, "\nimport no_such_package", "(train.py, line 2)"),
}


@pytest.mark.parametrize("framework", ["Keras", "Script"])
@pytest.mark.parametrize("case", PLACES)
def test_the_message_says_where_in_the_source_it_was_raised(launch, framework, case):
    files, script, place = PLACES[case]
    launched = launch(script, files=files, config={"framework": framework}, adapter="headrace_trainer.adapters.keras")
    assert launched.wait() in (1, 2), launched.log
    assert launched.record["message"].endswith(place), launched.record["message"]


def test_a_syntax_error_says_its_place_once(program):
    launched = program("import broken", files={"broken.py": "x = (1,\n"})
    assert launched.wait() == 2, launched.log
    assert launched.record["message"].endswith("(broken.py, line 1)")


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("/headrace/source/train.py", "train.py, line 5"),
        ("/headrace/source/..2026_11_30_02_10_11.1234567/train.py", "train.py, line 5"),
        ("/headrace/source/..data/helpers.py", "helpers.py, line 5"),
        ("/usr/lib/python3.11/json/decoder.py", ""),
        ("/headrace/source/.venv/lib/python3.11/site-packages/x.py", ""),
    ],
)
def test_a_place_is_relative_to_the_source(file, place):
    assert place_in(Path("/headrace/source"), [(file, 5), ("/usr/lib/python3.11/codecs.py", 1)]) == place


def test_the_end_of_the_log_names_the_source_s_own_files():
    tail = LogTail()
    tail.feed("stderr", b'  File "/headrace/source/..2026_11_30_02_10_11.1234567/train.py", line 5\n')
    assert tail.text() == '  File "/headrace/source/train.py", line 5'
