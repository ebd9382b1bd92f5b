"""What a failure says of a script that has written to both of its streams."""

from __future__ import annotations

import pytest

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
