"""Threads by the pod's quota and not by the node's cores; a GPU's memory as it is needed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from headrace_trainer.launcher.library_defaults import library_defaults

CPU_V1 = Path("/sys/fs/cgroup/cpu")


@pytest.mark.parametrize(
    ("usable", "cores", "threads"),
    [(4.0, 64, "4"), (0.5, 64, "1"), (1.5, 64, "2"), (64.0, 64, None)],
    ids=["four", "half a CPU", "rounded up", "no limit"],
)
def test_threads_are_as_many_as_the_quota_has_cpus(usable, cores, threads):
    told = library_defaults(usable, cores, {})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "PYTHON_CPU_COUNT"):
        assert told.get(name) == threads


def test_what_the_user_has_set_is_left_alone():
    told = library_defaults(2.0, 64, {"OMP_NUM_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "false"})
    assert "OMP_NUM_THREADS" not in told
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in told
    assert told["MKL_NUM_THREADS"] == "2"


THREADS = """
import os
import tensorflow as tf
tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
print(len(os.listdir("/proc/self/task")))
"""


def test_tensorflow_starts_fewer_threads(interpreter, tmp_path):
    """Which it makes with its first operation, and not when it is imported."""
    script = tmp_path / "count_threads.py"
    script.write_text(THREADS)
    counts = []
    for cores in (64, None):
        told = library_defaults(1.0, cores, {}) if cores else {"TF_NUM_INTRAOP_THREADS": "32"}
        env = {"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3", **told}
        counts.append(int(interpreter.run(script, environment=env).split()[-1]))
    assert counts[0] + 20 < counts[1]


SAYS = """
import os
print("threads", os.environ.get("OMP_NUM_THREADS"), "growth", os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH"))
"""


def test_a_script_without_a_quota_gets_memory_of_gpus_as_it_needs_it_and_its_own_threads(launch):
    launched = launch(SAYS, config={"framework": "Script"}, env={"OMP_NUM_THREADS": "7"})
    assert launched.wait() == 0, launched.log
    assert "threads 7 growth true" in launched.log


@pytest.fixture
def half_a_cpu():
    """A control group with a quota, as a container with a limit has."""
    if os.geteuid() != 0 or not (CPU_V1 / "cpu.cfs_quota_us").parent.is_dir() or not os.access(CPU_V1, os.W_OK):
        pytest.skip("needs root and the cpu controller of cgroup v1")
    folder = CPU_V1 / f"headrace-test-{os.getpid()}"
    folder.mkdir()
    (folder / "cpu.cfs_period_us").write_text("100000")
    (folder / "cpu.cfs_quota_us").write_text("50000")
    yield folder
    for _ in range(50):
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.1)


def test_a_script_in_a_container_with_half_a_cpu_gets_one_thread(launch, half_a_cpu):
    join = ("sh", "-c", f'echo $$ > {half_a_cpu}/cgroup.procs; exec "$@"', "sh")
    launched = launch(SAYS, config={"framework": "Script"}, before=join)
    assert launched.wait() == 0, launched.log
    assert "threads 1 growth true" in launched.log
