"""The script's process beside others that the launcher starts itself."""

import subprocess
import sys

from trainer_support import TRAINER

# In a process of its own: the thread that reaps orphans would take the children of the tests' process.
WAITS_FOR_OTHERS = """
import os, pathlib, queue, subprocess, sys, threading
from headrace_trainer.launcher.process import Child

inbox = queue.SimpleQueue()
script = "import pathlib, time\\nwhile not pathlib.Path('enough').exists(): time.sleep(0.1)\\nraise SystemExit(7)"
folder = pathlib.Path.cwd()
child = Child.start([sys.executable, "-c", script], dict(os.environ), folder, inbox.put, folder / "messages")

def start_and_wait():  # each is reaped by whoever comes first: this thread, or the one that reaps all orphans
    for _ in range(150):
        subprocess.run(["true"], check=False, timeout=30)

threads = [threading.Thread(target=start_and_wait) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
pathlib.Path("enough").touch()
print(inbox.get(timeout=20))
child.close()
"""


def run(program, folder):
    """In an interpreter of its own, whose children are no others' to reap."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TRAINER)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_script_s_end_is_seen_while_threads_wait_for_processes_of_their_own(tmp_path):
    ended = run(WAITS_FOR_OTHERS, tmp_path)
    assert "ChildExited(exit_code=7)" in ended.stdout, ended.stderr


# While another process of the launcher's goes on, the thread that reaps does not end with the first child.
ONE_AFTER_ANOTHER = """
import os, pathlib, queue, subprocess, sys
from headrace_trainer.launcher.process import Child

other = subprocess.Popen(["sleep", "60"])
folder = pathlib.Path.cwd()
for code in range(8):
    inbox = queue.SimpleQueue()
    script = f"import time; time.sleep(0.2); raise SystemExit({code})"
    child = Child.start([sys.executable, "-c", script], dict(os.environ), folder, inbox.put, folder / "messages")
    print(inbox.get(timeout=10), flush=True)
    child.close()
other.kill()
"""


def test_each_of_several_children_is_seen_to_end(tmp_path):
    ended = run(ONE_AFTER_ANOTHER, tmp_path)
    assert ended.stdout.splitlines() == [f"ChildExited(exit_code={code})" for code in range(8)], ended.stderr
