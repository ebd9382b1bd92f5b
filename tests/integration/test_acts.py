"""A hand on a rollout: the chart's policy and role on a real API server, `headrace promote` and its like from users who
may and who may not, and the operator that takes the act. Pods get ready as a kubelet would say.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crds import established
from headrace.cli import main as program
from headrace.kube.client import KubeClient
from headrace_local import binaries
from headrace_local.controlplane import ControlPlane

from .conftest import Kubectl
from .test_serving import Bench, Status, in_phase, serves

CHART = Path(__file__).resolve().parents[2] / "charts" / "headrace"
IN_FORCE_SECONDS = 120.0
STEPS = [{"weight": 20, "hold": "1s", "pause": {}}, {"weight": 50, "hold": "168h"}]

PAUSE = {
    "headrace.dev/act": "pause",
    "headrace.dev/act-version": "2",
    "headrace.dev/act-by": "alice",
    "headrace.dev/act-at": "2040-01-01T12:00:00Z",
}
NONE = dict.fromkeys([*PAUSE, "headrace.dev/act-reason"])


def service(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": "s3://team/models/1"}, "runtime": {"name": "onnxruntime"}},
    }


@dataclass
class Server:
    """The policy in a namespace, and users: alice has headrace-releaser, carol may pause only, eve may patch services
    and no more, victor may look.
    """

    root: Kubectl
    namespace: str

    def user(self, name: str) -> Kubectl:
        return self.root if name == "root" else self.root.as_user(name)

    def mark(self, user: str, marks: dict[str, Any], name: str = "text", *more: str) -> str:
        """Write annotations; the refusal, or nothing."""
        patch = json.dumps({"metadata": {"annotations": marks}})
        done = self.user(user).run(
            "patch", "modelservice", name, "-n", self.namespace, "--type=merge", "-p", patch, *more
        )
        return "" if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def policy(control_plane: ControlPlane) -> Iterator[Kubectl]:
    root = Kubectl(control_plane, control_plane.kubeconfig)
    root("apply", "--server-side", "-f", str(binaries.ensure().gateway_api))
    established(control_plane, "crd/httproutes.gateway.networking.k8s.io")
    command = [Path(sys.executable).parent / "helm", "template", "headrace", CHART, "--kube-version=1.34.4"]
    for template in ("admission/acts.yaml", "operator/releaser-role.yaml"):
        command += ["--show-only", f"templates/{template}"]
    manifests = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    root("apply", "-f", "-", stdin=manifests)
    yield root
    root("delete", "-f", "-", stdin=manifests)


@pytest.fixture
def server(policy: Kubectl, namespace: str) -> Server:
    server = Server(policy, namespace)
    rules = {"carol": "get,patch,pause", "eve": "get,list,update,patch", "victor": "get,list"}
    for user, verbs in rules.items():
        policy("create", "role", user, "-n", namespace, f"--verb={verbs}", "--resource=modelservices.headrace.dev")
        policy("create", "rolebinding", user, "-n", namespace, f"--role={user}", f"--user={user}")
    policy("create", "rolebinding", "alice", "-n", namespace, "--clusterrole=headrace-releaser", "--user=alice")
    policy.create(service("probe", namespace))
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while server.mark("root", PAUSE, "probe", "--dry-run=server") == "":
        assert time.monotonic() < deadline, "the policy is not in force"
        time.sleep(0.2)
    policy("delete", "modelservice", "probe", "-n", namespace)
    return server


# --- who may write it ------------------------------------------------------------------------------------------------

FORBIDDEN = 'may not pause ModelService "text": the verb "pause" on modelservices.headrace.dev in namespace'
TRIES = {
    "who has the role does": ("alice", PAUSE, ""),
    "or says why": ("alice", PAUSE | {"headrace.dev/act-reason": "lunch"}, ""),
    "who has the one verb does": ("carol", PAUSE | {"headrace.dev/act-by": "carol"}, ""),
    "and nothing else": (
        "carol",
        PAUSE | {"headrace.dev/act-by": "carol", "headrace.dev/act": "promote"},
        'may not promote ModelService "text": the verb "promote"',
    ),
    "who may patch does not": ("eve", PAUSE | {"headrace.dev/act-by": "eve"}, FORBIDDEN),
    "nor under another name": ("eve", PAUSE, FORBIDDEN),
    "who may look does not": ("victor", PAUSE, 'cannot patch resource "modelservices"'),
    "nobody acts under another name": (
        "alice",
        PAUSE | {"headrace.dev/act-by": "bob"},
        'must be your own user name, "alice"',
    ),
    "an administrator neither": ("root", PAUSE, "must be your own user name"),
    "nor without a version": ("alice", PAUSE | {"headrace.dev/act-version": " "}, "act-version is missing"),
    "nor without a time": ("alice", PAUSE | {"headrace.dev/act-at": None}, "act-at must be the time now"),
    "nor something unknown": ("alice", PAUSE | {"headrace.dev/act": "explode"}, "must be promote, skip, abort"),
    "nor half of it": ("alice", {"headrace.dev/act-reason": "x"}, "must be promote, skip, abort"),
    "nor a novel": ("alice", PAUSE | {"headrace.dev/act-reason": "é" * 1025}, "more than 1024 characters"),
    "who may patch writes other annotations": ("eve", {"note": "x"}, ""),
}


def test_an_act_is_written_only_by_who_may_and_under_their_own_name(server: Server) -> None:
    server.root.create(service("text", server.namespace))

    said = {case: server.mark(user, marks, "text", "--dry-run=server") for case, (user, marks, _) in TRIES.items()}

    for case, (_, _, expected) in TRIES.items():
        assert expected in said[case], case
        assert bool(said[case]) == bool(expected), (case, said[case])
    assert (
        "ask an administrator for it, such as with the ClusterRole headrace-releaser" in said["who may patch does not"]
    )


def test_an_act_may_be_taken_off_whole_by_who_may_patch_and_not_changed(server: Server) -> None:
    server.root.create(service("text", server.namespace))
    assert server.mark("alice", PAUSE) == ""

    assert FORBIDDEN in server.mark("eve", {"headrace.dev/act-reason": "x"})
    assert 'may not promote ModelService "text"' in server.mark("eve", {"headrace.dev/act": "promote"})
    assert server.mark("eve", {"note": "x"}) == ""
    assert server.mark("eve", NONE) == ""


# --- the commands, and the operator ----------------------------------------------------------------------------------


def headrace(server: Server, user: str, *arguments: str) -> int:
    where = ["--namespace", server.namespace, "--kubeconfig", str(server.user(user).kubeconfig)]
    return program.main([*arguments, *where])


async def does(bench: Bench, server: Server, user: str, *arguments: str) -> int:
    """The command's exit code; the operator has its passes meanwhile."""
    command = asyncio.create_task(asyncio.to_thread(headrace, server, user, *arguments))
    while not command.done():
        await bench.look(seconds=1)
    return command.result()


def waits(status: Status) -> bool:
    return status.get("reason") == "WaitingForPerson"


def drive(server: Server, scenario: Any) -> None:
    async def all_of_it() -> None:
        async with KubeClient.session(server.root.kubeconfig) as client, aiohttp.ClientSession() as http:
            bench = Bench(client, http, server.namespace)
            await bench.train(1)
            await bench.create(rollout={"steps": STEPS})
            await bench.until(serves(1))
            await scenario(bench)

    asyncio.run(all_of_it())


def test_each_act_from_a_terminal_with_the_role(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.train(2)
        status = await bench.until(waits)
        assert f"kubectl headrace skip text -n {server.namespace} continues" in status["message"]
        first = status["stable"]["revision"]

        assert await does(bench, server, "alice", "pause", "text", "--reason", "lunch") == 0
        status = await bench.look()
        assert (status["reason"], await bench.weights()) == (
            "Paused",
            {first: 80, status["canary"]["revision"]: 20},
        )
        assert await does(bench, server, "alice", "resume", "text") == 0
        await bench.until(waits)

        assert await does(bench, server, "alice", "skip", "text", "--version", "2") == 0
        await bench.until(lambda status: status["rollout"]["appliedWeight"] == 50)

        assert await does(bench, server, "alice", "abort", "text", "--reason", "wrong data") == 0
        status = await bench.until(in_phase("RolledBack"))
        assert (status["stable"]["revision"], status["rejected"][0]["reason"]) == (first, "Aborted")
        assert await bench.weights() == {first: 100}
        assert not waits(await bench.look(seconds=600))

        assert await does(bench, server, "alice", "retry", "text") == 0
        await bench.until(waits)

        assert await does(bench, server, "alice", "promote", "text", "--reason", "it is good") == 0
        status = await bench.until(serves(2))
        second = status["stable"]["revision"]
        assert [(ended["outcome"], ended["by"]) for ended in status["history"]] == [
            ("Aborted", "alice"),
            ("Promoted", "alice"),
        ]

        assert await does(bench, server, "alice", "restart", "text") == 0
        await bench.until(waits)
        assert await does(bench, server, "alice", "promote", "text") == 0
        status = await bench.until(lambda status: serves(2)(status) and status["stable"]["revision"] != second)
        acts = [(act["act"], act["by"], act["outcome"], act.get("unverified", False)) for act in status["acts"]]
        order = ("pause", "resume", "skip", "abort", "retry", "promote", "restart", "promote")
        assert acts == [(act, "alice", "Done", False) for act in order]

    drive(server, scenario)
    said = capsys.readouterr().out
    assert "stays at 20% of the requests until it is resumed" in said
    events = json.loads(server.root("get", "events", "-n", server.namespace, "--output=json"))["items"]
    assert sum(event.get("count", 1) for event in events if event["reason"] == "ActTaken") == 8


def test_each_act_from_a_terminal_without_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.train(2)
        await bench.until(waits)
        refused = ["promote", "skip", "abort", "pause"]
        for verb in refused:
            for user in ("eve", "victor"):
                assert await does(bench, server, user, verb, "text") == 1
                error = capsys.readouterr().err
                assert error.count("\n") == 1
                assert "ask an administrator for" in error
                assert "ClusterRole headrace-releaser" in error
        assert await does(bench, server, "alice", "pause", "text") == 0
        assert await does(bench, server, "eve", "resume", "text") == 1
        assert await does(bench, server, "alice", "abort", "text") == 0
        await bench.until(in_phase("RolledBack"))
        for verb in ("retry", "restart"):
            assert await does(bench, server, "eve", verb, "text") == 1
            assert f'may not {verb} ModelService "text"' in capsys.readouterr().err
        status = await bench.look()
        assert [act["act"] for act in status["acts"]] == ["pause", "abort"]

    drive(server, scenario)


def test_an_act_about_a_version_that_has_gone_does_nothing_and_says_so(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.train(2)
        await bench.until(waits)
        await bench.train(3)
        await bench.until(lambda status: waits(status) and status["canary"]["model"]["version"] == "3")

        promote = PAUSE | {"headrace.dev/act": "promote"}
        assert server.mark("alice", promote) == ""
        status = await bench.look()

        assert (status["acts"][0]["outcome"], status["reason"]) == ("NothingDone", "WaitingForPerson")
        assert "and not of 2: look at it, and ask anew" in status["acts"][0]["message"]
        assert await does(bench, server, "alice", "promote", "text", "--version", "2") == 1
        assert "version 3 of model" in capsys.readouterr().err
        assert serves(1)(await bench.status()) is False
        assert (await bench.status())["stable"]["model"]["version"] == "1"

    drive(server, scenario)
