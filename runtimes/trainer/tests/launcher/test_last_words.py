"""What a failure says of a script that has written to both of its streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_trainer.launcher.failures.place import place_in
from headrace_trainer.launcher.logtail import LogTail

BOTH = {
    "a question": ("input('name? ')", "EOFError: EOF when reading a line"),
    "a bar": (
        "import sys\nfor i in range(9):\n    sys.stdout.write(f'\\r{i}/9')\nraise TypeError('no')",
        "TypeError: no",
    ),
    "a bar on stderr": ("import sys\nsys.stderr.write('\\r8/9')\nprint('so far')\nlen(3)", "TypeError: object of type"),
    "a burst": ("for i in range(20000):\n    print(f'{i}/9')\nlen(3)", "TypeError: object of type"),
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


AT_START = """\
2026-11-30 02:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on. You may see slightly
2026-11-30 02:00:00.123456: I external/local_xla/xla/tsl/cuda/cudart_stub.cc:32] Could not find cuda drivers on your
2026-11-30 02:00:00.123456: E external/local_xla/xla/cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1796004636.603363    9942 port.cc:153] oneDNN custom operations are on. You may see slightly different
2026-11-30 02:00:00.1: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized to use
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate flags.
"""
MEANT = """\
2026-11-30 02:00:00.1: W tensorflow/core/framework/op_kernel.cc:1855] OP_REQUIRES failed at conv_ops.cc: INVALID
I0000 00:00:1796004636.603363    9942 coordination_service_agent.cc:369] the service went away
ValueError: cuda_dnn.cc is not here"""


def test_what_tensorflow_says_at_each_start_is_not_in_the_end_of_the_log():
    tail = LogTail()
    tail.feed("stderr", (AT_START + MEANT).encode())
    assert tail.text() == MEANT
    assert tail.by_stream() == (MEANT,)


def test_the_tensorflow_that_is_installed_says_nothing_else_at_its_start(launch):
    script = "import keras, numpy as np\nmodel = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
    script += "model(np.zeros((1, 4)))\nraise ValueError('no')"
    env = {"TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": ""}
    launched = launch(script, adapter="headrace_trainer.adapters.keras", env=env)
    assert launched.wait(200) == 1, launched.log
    assert "cpu_feature_guard.cc" in launched.log  # oneDNN is told of on some CPUs only
    assert launched.record["logTail"].startswith("Traceback (most recent call last)")
