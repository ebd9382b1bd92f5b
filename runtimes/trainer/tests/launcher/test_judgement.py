"""Each way in which a single machine can make a script end, and the record that it leaves."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from trainer_support import wait_until

TRAINS = "from standin_adapter import *\ntrain(3)\n"

CASES = {
    "success": (TRAINS, 0, None, None, ""),
    "an exception": (
        "raise ValueError('shapes (3,) and (4,)')",
        1,
        "UserCode",
        "ScriptRaised",
        "ValueError: shapes (3,)",
    ),
    "a script that is no Python": ("import os\n!pip install x\n", 2, "UserCode", "ScriptInvalid", "SyntaxError: "),
    "a text that is no Python": ("eval('1 +')", 1, "UserCode", "ScriptRaised", "SyntaxError: "),
    "an exit code": ("import sys; sys.exit(7)", 1, "UserCode", "ScriptExited", "exit code 7"),
    "the code of a saved checkpoint, unasked": (
        "import os; os._exit(75)",
        1,
        "UserCode",
        "ScriptExited",
        "exit code 75",
    ),
    "a segmentation fault": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        1,
        "UserCode",
        "ScriptExited",
        "SIGSEGV",
    ),
    "nothing trained": ("print('hello')", 2, "UserCode", "NothingTrained", "no training step was run"),
    "a package that is not there": (
        "import no_such_package",
        2,
        "Config",
        "PackageMissing",
        "No module named 'no_such_package'",
    ),
    "a kill from outside": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        3,
        "Killed",
        "ChildKilled",
        "ended by SIGKILL",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_end_of_the_script_is_judged(launch, case):
    script, exit_code, failure_class, reason, message = CASES[case]
    launched = launch(script)
    assert launched.wait() == exit_code, launched.log
    record = launched.record
    assert record["outcome"] == ("Succeeded" if exit_code == 0 else "Failed")
    assert (record.get("class"), record.get("reason")) == (failure_class, reason)
    assert message in record.get("message", "")
    assert bool(record.get("hint")) is (exit_code != 0)


OWN_CODES = {
    "its own": ("import sys; sys.exit(3)", 3, 1),
    "an exception": ("raise ValueError('no')", 1, 1),
    "never tried again": ("import no_such_package", 1, 2),
    "a signal": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 1, 1),
    "nothing trained": ("print('hello')", 2, 2),
}


@pytest.mark.parametrize("case", OWN_CODES)
def test_the_record_has_the_script_s_exit_code_and_the_container_the_launcher_s(launch, case):
    script, own, launcher_s = OWN_CODES[case]
    launched = launch(script)
    assert launched.wait() == launcher_s, launched.log
    assert launched.record["exitCode"] == own


def test_what_the_launcher_did_not_foresee_has_a_record_too(launch, tmp_path):
    (tmp_path / "work" / ".headrace").mkdir(parents=True)
    (tmp_path / "work" / ".headrace" / "checkpoints").touch()  # a file where a folder is to be

    launched = launch("print('hello')", env={"HEADRACE_WORK_DIR": str(tmp_path / "work")})

    assert launched.wait() == 3
    assert (launched.record["class"], launched.record["reason"]) == ("Killed", "LauncherFailed")
    assert "FileExistsError" in launched.record["message"]
    assert "a fault of Headrace" in launched.record["hint"]
    assert "Traceback" in launched.log


def test_a_script_that_ends_its_process_and_has_no_model_to_export_succeeds(launch):
    launched = launch(TRAINS + "import os\nos._exit(0)\n")
    assert launched.wait() == 0


def test_a_model_that_is_meant_although_no_step_was_seen_is_no_failure(launch):
    launched = launch("from standin_adapter import *\nsay('trained', kind='unseen', steps=0)\n")
    assert launched.wait() == 0


def test_the_hint_of_nothing_trained_names_what_is_not_seen(launch):
    launched = launch("print('hello')")
    launched.wait()
    assert all(words in launched.record["hint"] for words in ("process", "not Keras'", "headrace_client.export(model)"))


def test_a_script_that_does_not_train_is_told_how_one_of_another_framework_runs(launch):
    launched = launch("print('hello')")
    launched.wait()
    assert "framework: Script" in launched.record["hint"]


def test_a_failure_s_time_is_that_of_the_exception_not_that_of_the_end_of_its_process(launch):
    launched = launch("import atexit, time\natexit.register(time.sleep, 1)\nraise RuntimeError('no')")
    launched.wait()
    assert time.time() - launched.record["time"] / 1000 >= 1.0


def test_a_failure_carries_the_end_of_the_log(launch):
    launched = launch("print('about to fail')\nraise RuntimeError('no')")
    launched.wait()
    assert "about to fail" in launched.record["logTail"]
    assert "RuntimeError: no" in launched.record["logTail"]
    assert "about to fail" in launched.log  # and the pod's log has it all


@pytest.mark.parametrize(
    ("config", "reason", "message"),
    [
        (
            {"source": {"path": "/nonexistent", "entrypoint": "main.py"}},
            "EntrypointNotFound",
            "main.py is not in the source",
        ),
        ({"protocol": 99}, "BadConfig", "speaks protocol 99"),
        (
            {"job": {"namespace": "a", "name": "b", "uid": "c", "attempt": "1"}},
            "BadConfig",
            "job.attempt must be an integer",
        ),
        ({"datasets": [{"name": "d", "uri": "s3://b/k", "path": "/data/d"}]}, "BadConfig", "no storage"),
        (
            {"datasets": [{"name": "d", "uri": "ftp://b/k", "path": "/data/d"}], "storage": {}},
            "BadConfig",
            "ftp://b/k",
        ),
    ],
)
def test_what_the_configuration_cannot_have_is_said_before_anything_starts(launch, config, reason, message):
    launched = launch(TRAINS, config=config)
    assert launched.wait() == 2
    assert (launched.record["class"], launched.record["reason"]) == ("Config", reason)
    assert message in launched.record["message"]


def test_parameters_reach_the_script_both_ways(launch):
    script = """
import json, os, sys
from standin_adapter import *
assert sys.argv[1:] == ["--name=a b", "--rate=0.001", "--deep=true", "--epochs=10"], sys.argv
assert json.loads(os.environ["HEADRACE_PARAMETERS"]) == {"name": "a b", "rate": 0.001, "deep": True, "epochs": 10}
assert "HEADRACE_CONFIG" not in os.environ
train(1)
"""
    parameters = {"name": "a b", "rate": 0.001, "deep": True, "epochs": 10}
    launched = launch(script, config={"parameters": parameters})
    assert launched.wait() == 0, launched.log


def test_the_seed_is_the_job_s_and_the_same_in_each_attempt(launch):
    script = "import os\nfrom standin_adapter import *\nprint('seed', os.environ['HEADRACE_SEED'])\ntrain(1)"
    logs = []
    for attempt in (1, 2):
        launched = launch(script, attempt=attempt)
        launched.wait()
        logs.append(launched.log)
    given = launch(script, config={"parameters": {"seed": 42}})
    given.wait()
    assert logs[0] == logs[1]
    assert "seed 42" in given.log


@pytest.fixture
def memory_cgroup():
    """A cgroup with 160 MiB, below our own; v1 or v2, whichever this machine has."""
    v1 = Path("/sys/fs/cgroup/memory")
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    if v1.is_dir():
        own = next((path for _, names, path in lines if "memory" in names.split(",")), "/")
        root, limit = v1, "memory.limit_in_bytes"
    else:
        own = next(path for _, names, path in lines if not names)
        root, limit = Path("/sys/fs/cgroup"), "memory.max"
    base = root / own.lstrip("/")
    folder = (base if base.is_dir() else root) / f"headrace-test-{os.getpid()}-{time.time_ns()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(160 * 2**20))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    deadline = time.monotonic() + 10
    while (folder / "cgroup.procs").read_text().split() and time.monotonic() < deadline:
        time.sleep(0.1)
    folder.rmdir()


def inside(cgroup: Path) -> tuple[str, ...]:
    return ("sh", "-c", f'echo $$ > {cgroup}/cgroup.procs && exec "$@"', "sh")


EATS = "b = []\nwhile True: b.append(bytearray(2**20))"


def test_a_script_killed_for_memory_is_oom_with_limit_and_peak(launch, memory_cgroup):
    launched = launch(f"from standin_adapter import *\ntrain(1)\n{EATS}", before=inside(memory_cgroup))
    assert launched.wait() == 3, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("OOM", "OutOfMemory")
    assert "the script was killed for memory: limit 160 MiB, peak 160 MiB" in launched.record["message"]


def test_a_child_of_the_script_killed_for_memory_is_oom_although_the_script_ends_with_0(launch, memory_cgroup):
    script = f"""
import subprocess, sys
from standin_adapter import *
train(1)
assert subprocess.run([sys.executable, "-c", {EATS!r}]).returncode == -9
"""
    launched = launch(script, before=inside(memory_cgroup))
    assert launched.wait() == 3, launched.log
    assert "a process that the script had started was killed for memory" in launched.record["message"]


def test_as_pid_1_orphans_are_reaped_and_the_exit_code_is_the_script_s(launch):
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode != 0:
        pytest.skip("no PID namespace can be made here")
    script = """
import glob, subprocess, time
from standin_adapter import *
train(1)
subprocess.run(["sh", "-c", "for i in 1 2 3; do (sleep 0.1; exit 3) & done"])
time.sleep(1)
states = [open(f).read().rsplit(")", 1)[1].split()[0] for f in glob.glob("/proc/[0-9]*/stat")]
print("states", states)
assert len(states) == 2 and "Z" not in states
"""
    launched = launch(script, before=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"))
    assert launched.wait() == 0, launched.log


def test_a_record_is_there_from_the_start_and_outlives_a_sigkill_of_the_launcher(launch):
    launched = launch("from standin_adapter import *\ntrain(1000, pause=0.05)")
    wait_until(lambda: (launched.progress.get("step") or 0) > 150, 60, "the script trains")
    reached = launched.progress["step"]
    os.killpg(launched.process.pid, signal.SIGKILL)
    launched.process.wait()
    record = launched.record
    assert record["outcome"] == "Running"
    # At most 5 s old, at 20 steps a second; a busy machine may be late.
    assert reached - 200 < record["progress"]["step"] <= reached + 20


def test_a_script_that_cannot_be_followed_is_not_tried_again(launch):
    launched = launch(
        "import os\nfrom standin_adapter import *\n"
        "say('refused', message='the script trains with tf_keras', hint='Train with Keras 3.')\nos._exit(2)"
    )
    assert launched.wait() == 2
    record = launched.record
    assert (record["class"], record["reason"]) == ("Config", "BadConfig")
    assert (record["message"], record["hint"]) == ("the script trains with tf_keras", "Train with Keras 3.")
