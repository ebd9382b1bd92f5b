"""`framework: Script` with several workers: real launchers as two pods on two loopback addresses, whose programs find
one another by the variables that torch.distributed reads.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from trainer_support import Launched, free_port, wait_until

from headrace_common.protocol.config import Workers
from headrace_common.protocol.parts import LostPeer
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import ChildEnd, judge
from headrace_trainer.launcher.frameworks.script import SCRIPT

SUMS = (Path(__file__).parent / "gangs" / "sums.py").read_text()
HOSTS = ["127.0.0.1", "127.0.0.2"]


@pytest.fixture
def start(program):
    """Both pods of an attempt."""

    def start_gang(script: str = SUMS, *, config=None, steps: int = 30, attempt: int = 1) -> list[Launched]:
        port, meeting = free_port(), free_port()
        workers = {"count": 2, "port": meeting, "addresses": HOSTS, "nameDeadlineSeconds": 5}
        whole = {"workers": workers, "parameters": {"steps": steps}, **(config or {})}
        return [
            program(
                script,
                config=whole,
                port=port,
                host=host,
                attempt=attempt,
                env={"HEADRACE_PEER_HOLD_SECONDS": "3", "JOB_COMPLETION_INDEX": str(index)},
            )
            for index, host in enumerate(HOSTS)
        ]

    return start_gang


def undisturbed(steps: int) -> float:
    weight = 0.0
    for step in range(1, steps + 1):
        weight += 0.1 * (1 * (1.0 - weight) / step + 2 * (1.0 - weight) / step)
    return weight


def model_of(pod: Launched, s3, bucket: str) -> float:
    prefix = pod.record["model"]["uri"].removeprefix(f"s3://{bucket}/")
    return float(s3.get(bucket, f"{prefix}/onnx/model.onnx").removeprefix(b"\x08\x08\x3a\x00\x32")[1:])


def pid_of_script(pod: Launched) -> int:
    found = re.search(r"pid (\d+)", pod.log)
    assert found is not None, pod.log
    return int(found[1])


def kill(pod: Launched) -> None:
    """All processes at once, as when its node is gone. The launcher first: it is to see nothing of it."""
    script = pid_of_script(pod)
    pod.process.kill()
    pod.process.wait()
    os.kill(script, signal.SIGKILL)


def step_of(pod: Launched) -> int:
    return pod.progress.get("step", 0)


def test_two_pods_train_one_model_and_rank_0_speaks_for_both(start, outside, s3, mlflow):
    bucket, config = outside
    chief, other = start(config=config)

    assert (chief.wait(), other.wait()) == (0, 0), chief.log + other.log
    assert "rank 0 of 2" in chief.log
    assert "rank 1 of 2" in other.log
    assert model_of(chief, s3, bucket) == pytest.approx(undisturbed(30), rel=1e-12)
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    assert [entry["step"] for entry in mlflow.history(run["info"]["run_id"], "weight")] == list(range(1, 31))
    assert other.record["outcome"] == "Succeeded"
    assert {"model", "run", "checkpoint"}.isdisjoint(other.record)
    assert not list((other.work / ".headrace" / "checkpoints").iterdir())


def test_of_several_processes_of_torchrun_in_one_pod_the_first_one_speaks(program):
    script = """
        import os, subprocess, sys
        log = "import os, headrace_client; headrace_client.log({'loss': 1 + int(os.environ['LOCAL_RANK'])})"
        for local in ("0", "1"):
            subprocess.run([sys.executable, "-c", log], env={**os.environ, "LOCAL_RANK": local}, check=True)
        """
    pod = program(script)
    assert pod.wait() == 0, pod.log
    assert pod.record["metrics"] == {"loss": 1}


def test_a_pod_that_is_gone_is_the_other_one_s_loss_and_both_go_on_from_the_checkpoint(start, outside, s3):
    bucket, config = outside
    chief, other = start(config=config, steps=100_000)
    wait_until(lambda: "checkpoint" in chief.progress and step_of(chief) >= 12, 60, "a checkpoint")
    kill(other)
    assert chief.wait() == 5, chief.log
    record = chief.record
    assert (record["class"], record["reason"], record["lostPeer"]) == ("Peer", "PeerLost", 1)
    kept = record["checkpoint"]["step"]
    assert kept >= 5

    chief, other = start(config=config, steps=kept + 10, attempt=2)
    assert (chief.wait(), other.wait()) == (0, 0), chief.log + other.log
    for pod in (chief, other):
        assert f"starts at {kept}" in pod.log
    assert model_of(chief, s3, bucket) == pytest.approx(undisturbed(kept + 10), rel=1e-12)


def test_a_program_that_is_killed_in_its_pod_is_the_cause_and_the_other_one_only_lost_it(start):
    chief, other = start(steps=100_000)
    wait_until(lambda: step_of(chief) >= 3, 60, "three steps")
    os.kill(pid_of_script(chief), signal.SIGKILL)

    assert (chief.wait(), other.wait()) == (3, 5), chief.log + other.log
    assert chief.record["reason"] == "ChildKilled"
    assert (other.record["reason"], other.record["lostPeer"]) == ("PeerLost", 0)
    assert chief.record["time"] <= other.record["time"]


def test_one_pod_is_told_to_stop_and_rank_0_keeps_a_checkpoint(start, outside):
    chief, other = start(config={**outside[1], "output": None}, steps=100_000)
    wait_until(lambda: step_of(chief) >= 3, 60, "three steps")
    other.process.send_signal(signal.SIGTERM)

    assert (chief.wait(), other.wait()) == (1, 6), chief.log + other.log
    assert chief.record["checkpoint"]["step"] >= 3
    assert other.record["outcome"] == "Interrupted"
    assert other.record["time"] < chief.record["time"]  # so the operator calls it a disruption


READS = """
import json, os
names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "JAX_COORDINATOR_ADDRESS",
         "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "HEADRACE_WORKER_ADDRESSES", "TF_CONFIG")
print(json.dumps({name: os.environ.get(name) for name in names}))
"""


def test_a_program_in_one_pod_is_told_of_no_gang(program):
    pod = program(READS)
    assert pod.wait() == 0, pod.log
    assert set(json.loads(pod.log.splitlines()[-1]).values()) == {None}


def test_what_each_library_reads_is_the_same_gang():
    workers = Workers(count=2, port=29500, addresses=("job-1-0.job-1.ns.svc.", "job-1-1.job-1.ns.svc."))
    told = SCRIPT.rendezvous(workers, 1)
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("job-1-0.job-1.ns.svc", "29500")
    assert (told["RANK"], told["WORLD_SIZE"], told["LOCAL_RANK"], told["NODE_RANK"]) == ("1", "2", "0", "1")
    assert told["JAX_COORDINATOR_ADDRESS"] == told["KERAS_DISTRIBUTION_JOB_ADDRESSES"] == "job-1-0.job-1.ns.svc:29500"
    for prefix in ("JAX_", "KERAS_DISTRIBUTION_"):
        assert (told[f"{prefix}NUM_PROCESSES"], told[f"{prefix}PROCESS_ID"]) == ("2", "1")
    assert told["HEADRACE_WORKER_ADDRESSES"] == "job-1-0.job-1.ns.svc,job-1-1.job-1.ns.svc"


TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n'
GLOO = "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:7312"
NCCL = (
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, remote process exited or there was "
    "a network error, NCCL version 2.21.5"
)
TORCHRUN = f"{TRACEBACK}{GLOO}\n{TRACEBACK}torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"


@pytest.mark.parametrize(
    ("log", "exit_code"),
    [
        (TRACEBACK + GLOO, 1),
        (TRACEBACK + NCCL, 1),
        (TRACEBACK + "EOFError", 1),
        (TORCHRUN, 1),
        ("[E ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)", -6),
        ("E0000 coordination_service_agent.cc: heartbeat timeout of task 1", -6),
    ],
    ids=["gloo", "nccl", "sockets", "torchrun", "watchdog", "jax"],
)
def test_the_words_of_a_lost_peer_are_known(log, exit_code):
    end = ChildEnd(exit_code, 0, is_followed=False, log_tail=log, worker=0, workers=2)
    assert SCRIPT.lost_peer(end) == LostPeer(None)


@pytest.mark.parametrize(
    ("log", "exit_code"),
    [
        (f"WARNING: retrying: Connection reset by peer\n{TRACEBACK}ValueError: shapes (3,) and (4,)", 1),
        ("Connection reset by peer\n" + "step 7\n" * 20 + "killed by its author", 3),
        (TRACEBACK + GLOO, 0),
        (TRACEBACK + GLOO, -signal.SIGKILL),
    ],
    ids=["a warning before", "long ago", "ended well", "killed"],
)
def test_words_that_a_program_did_not_end_with_blame_nobody(log, exit_code):
    end = ChildEnd(exit_code, 0, is_followed=False, log_tail=log, worker=0, workers=2)
    assert SCRIPT.lost_peer(end) is None


def test_what_a_program_said_of_its_lost_peer_is_in_the_message():
    end = ChildEnd(1, 0, is_followed=False, lost_peer=LostPeer(None), log_tail=TRACEBACK + GLOO, workers=2)
    failure = judge(end)
    assert failure is not None
    assert failure.reason is Reason.PEER_LOST
    assert failure.message.endswith("Connection closed by peer [10.0.0.2]:7312")
