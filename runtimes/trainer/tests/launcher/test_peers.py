"""Two workers as two launchers on two loopback addresses."""

import time

from trainer_support import free_port

GANG = {"count": 2, "port": 2222, "addresses": ["127.0.0.1", "127.0.0.2"], "nameDeadlineSeconds": 1}


def test_a_name_that_never_resolves_is_said(launch):
    workers = {**GANG, "addresses": ["127.0.0.1", "job-1-1.job.team-a.invalid."]}
    launched = launch("raise SystemError('started')", config={"workers": workers})
    assert launched.wait() == 5, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Peer", "PeerNotFound")
    assert "job-1-1.job.team-a.invalid. did not resolve within 1 s" in launched.record["message"]


def test_each_worker_finds_its_place_in_tf_config(launch):
    script = """
import json, os
from standin_adapter import *
task = json.loads(os.environ["TF_CONFIG"])["task"]
assert task == {"type": "worker", "index": 1} and os.environ["HEADRACE_WORKER_INDEX"] == "1"
train(1)
"""
    launched = launch(script, config={"workers": GANG}, env={"JOB_COMPLETION_INDEX": "1"})
    assert launched.wait() == 0, launched.log
    assert launched.record["worker"] == 1


LOSES = """
import time
from standin_adapter import *
class UnavailableError(Exception): pass
train(1)
time.sleep(2)
raise UnavailableError("{message}")
"""


def run_gang(launch, message, hold):
    """Worker 1 fails by itself, worker 0 because of that; the two records, and how much later worker 0 ended."""
    port = free_port()
    env = {"HEADRACE_PEER_HOLD_SECONDS": str(hold)}
    victim = launch(LOSES.format(message=message), config={"workers": GANG}, port=port, env=env)
    culprit = launch(
        "from standin_adapter import *\ntrain(1)\nraise ValueError('the cause')",
        config={"workers": GANG},
        port=port,
        host="127.0.0.2",
        env={**env, "JOB_COMPLETION_INDEX": "1"},
    )
    assert culprit.wait() == 1, culprit.log
    ended = time.monotonic()
    assert victim.wait() == 5, victim.log
    return victim.record, culprit.record, time.monotonic() - ended


def test_the_worker_that_lost_its_peer_names_it_and_ends_after_it(launch):
    victim, culprit, later = run_gang(launch, "/job:worker/replica:0/task:1: Socket closed", hold=3)
    assert (victim["class"], victim["reason"], victim["lostPeer"]) == ("Peer", "PeerLost", 1)
    assert "lostPeer" not in culprit
    assert culprit["time"] < victim["time"]
    assert later > 2.5


def test_a_lost_peer_that_tensorflow_does_not_name_is_found_by_its_silence(launch):
    victim, _, _ = run_gang(launch, "Connection reset by peer", hold=3)
    assert victim["lostPeer"] == 1
