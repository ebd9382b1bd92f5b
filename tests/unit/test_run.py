"""A run of the tests that is interrupted, or takes too long, leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "run.py"

LEAVES_A_SERVER = """
import pathlib, subprocess, sys, time
server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(server.pid))
time.sleep(float(sys.argv[2]))
"""


def start(folder: Path, minutes: float, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LEAVES_A_SERVER, str(folder / "pid"), str(seconds)]
    return subprocess.Popen([sys.executable, str(RUN), str(minutes), *command], stderr=subprocess.PIPE)


def server_of(folder: Path) -> int:
    deadline = time.monotonic() + 20
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int((folder / "pid").read_text())


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_what_its_tests_have_started(tmp_path, number):
    process = start(tmp_path, 5, 600)
    server = server_of(tmp_path)
    assert is_running(server)

    process.send_signal(number)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert not is_running(server)
    assert b"ended 1 processes that the tests had left running" in told


def test_a_run_whose_time_is_over_ends_so_too(tmp_path):
    process = start(tmp_path, 0.05, 600)
    server = server_of(tmp_path)

    _, told = process.communicate(timeout=60)

    assert process.returncode == 124
    assert not is_running(server)
    assert b"the tests' 0.05 minutes are over" in told


def test_one_that_does_not_hear_of_it_is_ended_after_a_while(tmp_path):
    deaf = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{LEAVES_A_SERVER}"
    driver = f"import sys; sys.path[:0] = [{str(RUN.parent)!r}]; import run; run.SUMMARY_SECONDS = 1.0\n"
    driver += "sys.exit(run.main(5, sys.argv[1:]))"
    command = [sys.executable, "-c", driver, sys.executable, "-c", deaf, str(tmp_path / "pid"), "600"]
    process = subprocess.Popen(command)
    server = server_of(tmp_path)

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM
    assert not is_running(server)


def test_the_exit_status_is_the_commands_own_and_other_processes_are_left_alone(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        process = subprocess.run(
            [sys.executable, str(RUN), "5", sys.executable, "-c", "raise SystemExit(3)"], check=False
        )
        assert process.returncode == 3
        assert is_running(other.pid)
        assert is_running(os.getpid())
    finally:
        other.kill()
        other.wait()
