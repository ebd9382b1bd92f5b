"""Who may approve a model: the chart's policy and role on a real API server, `headrace approve` and `refuse`, and the
operator that takes the decision.

The policy is in force in this module's namespace only.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.api.trainingjob import TrainingJob
from headrace.cli import main as program
from headrace.kube.client import KubeClient
from headrace.kube.keys import Key
from headrace.kube.resources import TRAININGJOBS
from headrace.training.reconcile import TrainingReconciler
from headrace_local.controlplane import ControlPlane
from training_builders import SETTINGS

from .conftest import Kubectl

CHART = Path(__file__).resolve().parents[2] / "charts" / "headrace"
HOW_TO = CHART.parents[1] / "docs" / "how-to" / "approve-a-version.md"
NAMESPACE = "approvals"
IN_FORCE_SECONDS = 120.0

APPROVED = {"headrace.dev/approval": "Approved", "headrace.dev/approval-by": "alice"}
REFUSED = {"headrace.dev/approval": "Refused", "headrace.dev/approval-by": "alice"}
WHY = {"headrace.dev/approval-reason": "blurred"}
NONE = dict.fromkeys([*APPROVED, *WHY])

RIGHT_MISSING = (
    'may not approve or refuse the model of TrainingJob "text": the verb "approve" on trainingjobs.headrace.dev'
)
NOTHING_WAITS = 'TrainingJob "text" has no model version that waits for an approval'
FIRST_STANDS = "the first decision stands"


def job(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}},
        "spec": {
            "source": {"configMap": {"name": "code"}},
            "entrypoint": "train.py",
            "tracking": {"experiment": "x"},
            "output": {"model": "text", "alias": "candidate", "approval": {"required": True}},
        },
    }


def status_of(state: str | None) -> dict[str, Any]:
    approval = {} if state is None else {"approval": {"required": True, "state": state}}
    if state not in (None, "Awaiting"):
        approval["approval"] |= {"by": "carol", "at": "2030-01-01T12:00:00Z", "recorded": True}
    model = {"name": f"{NAMESPACE}.text", "version": "7", "uri": "s3://b/m", "digest": "sha256:0"}
    ended = {"state": "Succeeded", "reason": "AwaitingApproval"}
    return (ended if state is not None else {"state": "Running"}) | {"model": model | approval}


@dataclass
class Server:
    """The policy, and three users: alice has the ClusterRole headrace-approver, eve may edit jobs, and root all."""

    root: Kubectl

    @property
    def alice(self) -> Kubectl:
        return self.root.as_user("alice")

    @property
    def eve(self) -> Kubectl:
        return self.root.as_user("eve")

    def make(self, name: str, state: str | None, marks: dict[str, str] | None = None) -> None:
        """A job whose version is `state` (None: there is none yet); `marks` came while it waited."""
        self.root("delete", "trainingjob", name, "-n", NAMESPACE, "--ignore-not-found")
        self.root.create(job(name))
        if marks:
            self.say(name, "Awaiting")
            user = self.root.as_user(marks["headrace.dev/approval-by"], ["system:masters"])
            assert self.mark(user, marks, name) == ""
        self.say(name, state)

    def say(self, name: str, state: str | None) -> None:
        patch = json.dumps({"status": status_of(state)})
        self.root("patch", "trainingjob", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)

    def mark(self, user: Kubectl, marks: dict[str, Any], name: str = "text", *more: str) -> str:
        """Write annotations; the refusal, or nothing."""
        patch = json.dumps({"metadata": {"annotations": marks}})
        done = user.run("patch", "trainingjob", name, "-n", NAMESPACE, "--type=merge", "-p", patch, *more)
        return "" if done.returncode == 0 else done.stderr

    def marks(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.root.get("trainingjob", name, NAMESPACE)["metadata"].get("annotations", {})
        return found

    def bind(self, user: str, role: str, name: str) -> None:
        self.root("create", "rolebinding", f"{user}-{name}", "-n", NAMESPACE, role, f"--user={user}")


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane) -> Iterator[Server]:
    root = Kubectl(control_plane, control_plane.kubeconfig)
    root("create", "namespace", NAMESPACE)
    command = [Path(sys.executable).parent / "helm", "template", "headrace", CHART, "--kube-version=1.34.4"]
    command += ["--set", f"watchNamespaces={{{NAMESPACE}}}"]
    for template in ("admission/approval.yaml", "operator/approver-role.yaml"):
        command += ["--show-only", f"templates/{template}"]
    manifests = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    root("apply", "-f", "-", stdin=manifests)
    server = Server(root)
    server.bind("alice", "--clusterrole=headrace-approver", "approves")
    rules = ["--verb=get,list,create,update,patch,delete", "--resource=trainingjobs.headrace.dev"]
    root("create", "role", "edit-jobs", "-n", NAMESPACE, *rules)
    server.bind("eve", "--role=edit-jobs", "edits")
    server.make("text", None)
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while server.mark(server.root, APPROVED, "text", "--dry-run=server") == "":
        assert time.monotonic() < deadline, "the policy is not in force"
        time.sleep(0.2)
    yield server
    root("delete", "-f", "-", stdin=manifests)


@dataclass
class Try:
    """Who writes what on a job in which state, and the words of the refusal (empty: none)."""

    user: str
    marks: dict[str, Any]
    said: str
    state: str | None = "Awaiting"
    before: dict[str, str] = field(default_factory=dict)


TRIES = {
    "who may approve does": Try("alice", APPROVED, ""),
    "or says why": Try("alice", APPROVED | WHY, ""),
    "or refuses": Try("alice", REFUSED | WHY, ""),
    "who may edit does not": Try("eve", APPROVED | {"headrace.dev/approval-by": "eve"}, RIGHT_MISSING),
    "nor under another name": Try("eve", APPROVED, RIGHT_MISSING),
    "nor the name alone": Try("eve", {"headrace.dev/approval-by": "alice"}, RIGHT_MISSING),
    "nor takes it back": Try("eve", NONE, RIGHT_MISSING, before=REFUSED | WHY),
    "nor changes the reason": Try("eve", {"headrace.dev/approval-reason": "x"}, RIGHT_MISSING, before=APPROVED),
    "who may edit writes other annotations": Try("eve", {"note": "x"}, "", before=APPROVED),
    "nobody approves under another name": Try(
        "alice", APPROVED | {"headrace.dev/approval-by": "bob"}, 'must be your own user name, "alice"'
    ),
    "nor under none": Try("alice", {"headrace.dev/approval": "Approved"}, 'must be your own user name, "alice"'),
    "nor something else": Try("alice", APPROVED | {"headrace.dev/approval": "Maybe"}, "must be Approved or Refused"),
    "nor refuses without a reason": Try("alice", REFUSED, "a refusal needs a reason"),
    "nor with an empty one": Try("alice", REFUSED | {"headrace.dev/approval-reason": " "}, "a refusal needs a reason"),
    "nor with a novel": Try(
        "alice", APPROVED | {"headrace.dev/approval-reason": "é" * 1025}, "more than 1024 characters"
    ),
    "nor before there is a version": Try("alice", APPROVED, NOTHING_WAITS, state=None),
    "the first one stands, before the operator has seen it": Try(
        "alice", REFUSED | WHY, f'has the decision Approved by "alice": {FIRST_STANDS}', before=APPROVED
    ),
    "it is taken back until then": Try("alice", NONE, "", before=APPROVED),
    "the first one stands": Try("alice", REFUSED | WHY, FIRST_STANDS, state="Approved", before=APPROVED),
    "also one that is written on nothing": Try("alice", APPROVED, FIRST_STANDS, state="Refused"),
    "what is in status may be taken off by whoever edits": Try("eve", NONE, "", state="Approved", before=APPROVED),
}


@pytest.fixture(scope="module")
def names(server: Server) -> dict[str, str]:
    """For each case a job as it is before; cases that begin alike have the same one, since nothing is kept."""
    made: dict[tuple[Any, ...], str] = {}
    found = {}
    for case, tried in TRIES.items():
        begins = (tried.state, *sorted(tried.before.items()))
        if begins not in made:
            made[begins] = f"text-{len(made)}"
            server.make(made[begins], tried.state, tried.before)
        found[case] = made[begins]
    return found


@pytest.mark.parametrize("case", TRIES)
def test_a_decision_is_written_only_by_who_may(case: str, server: Server, names: dict[str, str]) -> None:
    tried, name = TRIES[case], names[case]

    said = server.mark(server.root.as_user(tried.user), tried.marks, name, "--dry-run=server")

    assert tried.said.replace('"text"', f'"{name}"') in said
    assert bool(said) == bool(tried.said)


def test_the_refusal_says_whom_to_ask_for_what(server: Server) -> None:
    server.make("text", "Awaiting")

    said = server.mark(server.eve, APPROVED)

    assert 'user "eve" may not approve' in said
    assert f'in namespace "{NAMESPACE}" is missing; ask an administrator for it' in said
    assert "ClusterRole headrace-approver" in said


def test_no_job_is_created_with_a_decision_not_even_by_an_administrator(server: Server) -> None:
    for user in (server.root, server.eve):
        done = user.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(job("new", APPROVED)))
        assert done.returncode != 0
        assert (NOTHING_WAITS if user is server.root else RIGHT_MISSING).replace('"text"', '"new"') in done.stderr


def test_who_is_impersonated_is_who_decides(server: Server) -> None:
    server.make("text", "Awaiting")

    assert 'must be your own user name, "alice"' in server.mark(
        server.root, APPROVED | {"headrace.dev/approval-by": "admin"}, "text", "--as=alice"
    )
    assert RIGHT_MISSING in server.mark(server.root, APPROVED, "text", "--as=eve")
    assert server.mark(server.root, APPROVED, "text", "--as=alice") == ""


def test_a_status_that_is_written_carries_no_decision_along(server: Server) -> None:
    """The policy does not look at writes of the status; nor do those change annotations."""
    server.make("text", "Awaiting")
    patch = json.dumps({"metadata": {"annotations": APPROVED}, "status": {"message": "it waits"}})
    server.root("patch", "trainingjob", "text", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)

    found = server.root.get("trainingjob", "text", NAMESPACE)
    assert found["status"]["message"] == "it waits"
    assert "headrace.dev/approval" not in found["metadata"].get("annotations", {})


def test_the_policy_of_the_how_to_demands_an_approval_where_the_label_is(server: Server) -> None:
    [text] = [part.split("```")[0] for part in HOW_TO.read_text().split("```yaml") if "AdmissionPolicy" in part]
    server.root("apply", "-f", "-", stdin=text)
    server.root("label", "namespace", NAMESPACE, "headrace.dev/approval=required")
    without, no_model = job("new"), job("new")
    del without["spec"]["output"]["approval"], no_model["spec"]["output"]

    def create(manifest: dict[str, Any]) -> str:
        return server.root.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest)).stderr

    try:
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while "set spec.output.approval.required to true" not in create(without):
            assert time.monotonic() < deadline, "the policy is not in force"
            time.sleep(0.2)
        assert (create(job("new")), create(no_model)) == ("", "")
    finally:
        server.root("delete", "-f", "-", stdin=text)


# --- the command -----------------------------------------------------------------------------------------------------


def headrace(user: Kubectl, *arguments: str) -> int:
    return program.main([*arguments, "--namespace", NAMESPACE, "--kubeconfig", str(user.kubeconfig)])


def test_headrace_approve_writes_the_decision_under_ones_own_name(server: Server, capsys: Any) -> None:
    server.make("text", "Awaiting")

    assert headrace(server.alice, "approve", "text", "--reason", "it reads\n  well") == 0

    assert server.marks("text") == APPROVED | {"headrace.dev/approval-reason": "it reads well"}
    said = capsys.readouterr().out
    assert said.startswith(
        f"approved by alice: version 7 of model {NAMESPACE}.text; the operator points alias candidate"
    )


def test_headrace_refuse_does_too(server: Server, capsys: Any) -> None:
    server.make("text", "Awaiting")

    assert headrace(server.alice, "refuse", "text", "--reason", "blurred") == 0

    assert server.marks("text") == REFUSED | WHY
    assert "refused by alice" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["approve", "text"], ["refuse", "text", "--reason", "x"]])
def test_headrace_says_which_right_is_missing(command: list[str], server: Server, capsys: Any) -> None:
    server.make("text", "Awaiting")

    assert headrace(server.eve, *command) == 1

    error = capsys.readouterr().err
    assert RIGHT_MISSING in error
    assert error.count("\n") == 1
    assert server.marks("text") == {}


# --- the operator ----------------------------------------------------------------------------------------------------


class Registry:
    """MLflow: what is written on version 7, and where the alias points."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.alias = "6"

    async def tag_version(self, model: str, version: str, tags: dict[str, str]) -> None:
        self.tags |= tags

    async def describe_version(self, model: str, version: str, paragraph: str) -> None:
        """Written."""

    async def point_alias(self, model: str, alias: str, version: str) -> None:
        self.alias = version


@pytest.mark.parametrize(("enforced", "reason"), [(True, "TenantNotFound"), (False, "ApprovalNotEnforced")])
def test_no_job_that_asks_for_an_approval_is_started_where_anybody_could_give_it(
    enforced: bool, reason: str, kubectl: Kubectl, namespace: str
) -> None:
    manifest = job("text")
    manifest["metadata"]["namespace"] = namespace
    kubectl("create", "configmap", "code", "-n", namespace, "--from-literal=train.py=print()")
    kubectl.create(manifest)
    settings = replace(SETTINGS, operator_namespace=namespace, approvals_enforced=enforced)

    async def look() -> dict[str, Any]:
        async with KubeClient.session(kubectl.kubeconfig) as kube, aiohttp.ClientSession() as http:
            await TrainingReconciler(kube, http, settings, Registry()).reconcile(Key(TRAININGJOBS, namespace, "text"))  # type: ignore[arg-type]
            found = await kube.get(TRAININGJOBS, namespace, "text")
            return found["status"] if found is not None else {}

    status = asyncio.run(look())
    # Without the setting the next thing that is missing is the tenant.
    assert (status["state"], status["reason"]) == ("Pending", reason)


def test_the_operator_points_the_alias_once_somebody_with_the_right_has_approved(server: Server, capsys: Any) -> None:
    registry, key = Registry(), Key(TRAININGJOBS, NAMESPACE, "text")
    server.make("text", "Awaiting")

    async def look() -> TrainingJob:
        """Three passes of a new operator."""
        async with KubeClient.session(server.root.kubeconfig) as kube, aiohttp.ClientSession() as http:
            reconciler = TrainingReconciler(kube, http, SETTINGS, registry, lambda: datetime.now(UTC))  # type: ignore[arg-type]
            for _ in range(3):
                await reconciler.reconcile(key)
            return TrainingJob.model_validate(await kube.get(TRAININGJOBS, NAMESPACE, "text"))

    assert headrace(server.eve, "approve", "text") == 1
    waits = asyncio.run(look()).status
    assert (waits.reason, registry.alias, registry.tags) == ("AwaitingApproval", "6", {})

    assert headrace(server.alice, "approve", "text", "--reason", "good") == 0
    approved = asyncio.run(look()).status
    assert (approved.state, approved.reason, registry.alias) == ("Succeeded", "Approved", "7")
    assert approved.model is not None
    assert approved.model.approval is not None
    assert (approved.model.approval.by, approved.model.approval.reason) == ("alice", "good")

    assert headrace(server.alice, "refuse", "text", "--reason", "no") == 1
    assert "was approved by alice before, and the first decision stands" in capsys.readouterr().err
    events = json.loads(server.root("get", "events", "-n", NAMESPACE, "--output=json"))["items"]
    told = [event["message"] for event in events if event["reason"] == "Approved"]
    assert told == [f"approved by alice (good): version 7 of model {NAMESPACE}.text, alias candidate points at it"]
