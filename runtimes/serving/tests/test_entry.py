"""From the command line to the exit code, in a process that ends as a server's does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
PROGRAM = """
import threading, time
from types import SimpleNamespace
from headrace_serving import entry
from headrace_serving.failures import Reason, StartError

def fail():
    raise StartError(Reason.MODEL_CORRUPT, "broken", "mend it")

def hang():
    threading.Thread(target=time.sleep, args=(60,)).start()
    return 1

entry.run(lambda arguments: {parse}, lambda settings: {serve})
"""


@pytest.fixture
def ended(tmp_path):
    """Exit code, log and termination message of a program that parses and serves so."""

    def run(parse: str = "SimpleNamespace(digest='sha256:abc')", serve: str = "0") -> SimpleNamespace:
        message = tmp_path / "termination-log"
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "HEADRACE_TERMINATION_LOG": str(message)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(parse=parse, serve=serve)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        record = json.loads(message.read_bytes()) if message.exists() else None
        return SimpleNamespace(code=done.returncode, log=done.stderr, record=record)

    return run


def test_the_exit_code_is_what_serving_gives_and_nothing_is_waited_for(ended):
    end = ended(serve="hang()")
    assert (end.code, end.log, end.record) == (1, "", None)


def test_a_start_that_fails_is_told_with_the_digest_of_its_settings(ended):
    end = ended(serve="fail()")
    assert (end.code, end.log) == (2, "ERROR ModelCorrupt: broken mend it\n")
    assert (end.record["reason"], end.record["digest"]) == ("ModelCorrupt", "sha256:abc")


def test_settings_that_cannot_be_parsed_have_no_digest(ended):
    end = ended(parse="fail()")
    assert (end.code, end.record["digest"]) == (2, None)
