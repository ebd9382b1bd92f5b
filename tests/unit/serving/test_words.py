"""What a ModelService says in each state that a plan can give it: a text where one belongs, and no riddle."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.api.modelservice import ModelService, Phase
from headrace.kube.plan import Plan
from headrace.kube.resources import HTTPROUTES
from headrace.labels import ACT, ACT_AT, ACT_BY, ACT_REASON, ACT_VERSION
from headrace.rollout.counters import Counters
from headrace.rollout.route import behind
from headrace.serving.observed import Observed, ObservedExplainer, read_missing_pods, read_pod, refused
from headrace.serving.plan import plan
from headrace.serving.target import ACCEPT_ANNOTATION
from headrace.serving.unprepared import trouble_of
from runtime_builders import PLAIN, runtimes
from serving_builders import NOW, artifact, model_service, serving_pod
from training_builders import SETTINGS
from words import reasons_of, unclear

REASONS = Path(__file__).parents[3] / "docs" / "reference" / "rollout-reasons.md"
SERVERS = replace(
    SETTINGS,
    runtimes=runtimes(plain=PLAIN, bare=PLAIN | {"image": ""}),
    refused_runtimes={"wrong": "servingRuntimes.wrong.ports: Field required"},
)
CHECKS = [{"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 50}]
STEPS = [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}]
BEHIND = behind(
    {
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [{"name": "g"}]},
        "status": {
            "parents": [{"parentRef": {"name": "g"}, "conditions": [{"type": "Accepted", "observedGeneration": 2}]}]
        },
    }
)


def analysed(**analysis):
    asked = {"interval": "10s", "failureLimit": 1, "checks": CHECKS} | analysis
    return model_service(rollout={"steps": STEPS, "analysis": asked})


def status_of(container=None, **status):
    """The trouble of a pod with this status."""
    statuses = {"containerStatuses": [{"name": "server"} | container]} if container else {}
    return read_pod({"metadata": {"name": "text-1-abc"}, "status": statuses | status}).trouble


def ended(exit_code=1, restarts=0, **fields):
    return {"state": {"terminated": {"exitCode": exit_code} | fields}, "restartCount": restarts}


UNPREPARED = {"metadata": {"name": "text-1-abc", "namespace": "team-a"}, "spec": {"nodeName": "node-1"}}
TROUBLES = {
    "no volume": trouble_of(UNPREPARED, None),
    "no sandbox": trouble_of(UNPREPARED, {"message": "Failed to create pod sandbox: no network"}),
    "no node": status_of(conditions=[{"type": "PodScheduled", "status": "False"}]),
    "no image": status_of({"state": {"waiting": {"reason": "ImagePullBackOff"}}}),
    "no Secret": status_of({"state": {"waiting": {"reason": "CreateContainerConfigError"}}}),
    "out of memory": status_of(ended(137, 1, reason="OOMKilled")),
    "crashed": status_of(ended(139, 2)),
    "a record without words": status_of(ended(2, message='{"outcome": "Failed", "reason": "no word"}')),
    "no pods": read_missing_pods({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True"}]}}),
}


class Walk:
    """A service whose plans are carried out at once, and whose pods are ready unless a look says otherwise."""

    def __init__(self, service=None):
        self.service, self.now, self.weights = service or model_service(), NOW, None
        self.asked = self.failed = 0

    def look(self, seconds=1, version=1, ready=None, trouble=None, errors=0, requests=100, **seen) -> Plan:
        """`ready` has the number of ready pods by role (stable, canary), `trouble` is that of the newest revision."""
        self.now += timedelta(seconds=seconds)
        self.asked, self.failed = self.asked + requests, self.failed + errors
        status = self.service.status
        roles = {"stable": status.stable, "canary": status.canary}
        pods, counters = [], {}
        for role, revision in roles.items():
            wanted = revision.replicas if revision is not None else 0
            for index in range(wanted):
                name = f"{revision.revision}-{index}"
                works = index < (ready or {}).get(role, wanted)
                bad = trouble if not works and (role == "canary" or status.canary is None) else None
                pods.append(serving_pod(name, revision.revision, bad, ready=works))
                counters[name] = Counters(self.asked, self.failed if role == "canary" else 0)
        told = {
            "artifact": artifact(version),
            "artifact_problem": None,
            "pods": tuple(pods),
            "counters": counters,
            "weights": self.weights,
            "route_accepted": True,
        }
        planned = plan(self.service, Observed(**told | seen), self.now, SERVERS)
        document = self.service.model_dump(mode="json", by_alias=True) | {"status": planned.status}
        self.service = ModelService.model_validate(document)
        for kind, obj in planned.applies:
            if kind == HTTPROUTES:
                self.weights = {ref["name"]: ref["weight"] for ref in obj["spec"]["rules"][0]["backendRefs"]}
        return planned

    def until(self, reason, **look) -> Plan:
        for _ in range(200):
            planned = self.look(**look)
            if reason in (self.service.status.reason, self.service.status.phase):
                return planned
        raise AssertionError(f"never {reason}: {self.service.status.reason}")


def first(**look) -> Plan:
    """The first revision, before a pod of it was ready."""
    walk = Walk()
    walk.look()
    return walk.look(**{"ready": {"canary": 0}} | look)


def stable(service=None) -> Walk:
    walk = Walk(service)
    walk.until("Serving")
    return walk


def serves(**look) -> Plan:
    return stable().look(**look)


def rolls_out(reason, service=None, **look) -> Walk:
    """A rollout of version 2 with this reason; each look sees the same."""
    walk = stable(service)
    walk.until(reason, version=2, **look)
    return walk


def holds(service=None, **look) -> Plan:
    """A look at a canary with its first weight."""
    return rolls_out("Holding", service).look(**{"version": 2} | look)


def loses_its_pods(**look) -> Walk:
    walk = rolls_out("Holding")
    walk.look(version=2, ready={"canary": 0}, **look)
    return walk


def explained(**explainer) -> Plan:
    walk = stable(model_service(explain={}))
    pod = serving_pod("explains", walk.service.status.stable.revision)
    return walk.look(explainer=ObservedExplainer(pods=(pod,), **{"route_accepted": True} | explainer))


def deleted(walk, **look) -> Plan:
    going = serving_pod("old", walk.service.status.canary.revision, going=True, disrupted=True, ready=False)
    return walk.look(version=2, pods=(going,), **look)


def keeps_the_canary() -> Plan:
    walk = rolls_out("Holding", analysed())
    return walk.until("StableUnavailable", version=2, seconds=10, errors=50, ready={"stable": 0})


def takes_other_inputs(service=None, **look) -> Plan:
    walk = Walk(service)
    walk.until("Serving", artifact=artifact(1, takes=4))
    return walk.look(artifact=artifact(2, takes=5), **look)


PLANS = {
    # the first revision
    "no such server": lambda: Walk(model_service(runtime={"name": "gone"})).look(),
    "no such format": lambda: Walk(model_service(runtime={"name": "plain", "format": "Keras"})).look(),
    "no way to say how many rows": lambda: Walk(
        model_service(runtime={"name": "plain", "batching": {"maxSize": 8}})
    ).look(),
    "a server that cannot be used": lambda: Walk(model_service(runtime={"name": "wrong"})).look(),
    "a server without an image": lambda: Walk(model_service(runtime={"name": "bare"})).look(),
    "a server without counters": lambda: Walk(model_service(runtime={"name": "plain"})).look(),
    "no such alias": lambda: Walk().look(artifact=None, artifact_problem=("AliasNotFound", "no alias 'x'")),
    "the first look": lambda: Walk().look(),
    "the served format was judged": lambda: stable().look(artifact=replace(artifact(1), judged_format="ONNX")),
    "another format was judged": lambda: stable().look(artifact=replace(artifact(1), judged_format="TensorFlow")),
    "no pod is ready": first,
    "rejected": lambda: first(refusal=refused("PATCH of Deployment: 422 Invalid: x", for_good=True)),
    "no pod of the first, without a route": lambda: Walk(model_service(route=None)).look(),
    **{f"first: {name}": lambda trouble=trouble: first(trouble=trouble) for name, trouble in TROUBLES.items()},
    "first: pods cannot be created": lambda: first(missing_pods=dict.fromkeys(_revisions(), TROUBLES["no pods"])),
    # a stable one
    "serving": serves,
    "serving a uri": lambda: uri(),
    "serving without a route": lambda: stable(model_service(route=None)).look(),
    "a pod is missing": lambda: serves(ready={"stable": 1}),
    "pods are not created": lambda: serves(pods=()),
    "no pod is ready any more": lambda: serves(ready={"stable": 0}),
    "a pod has no node": lambda: serves(ready={"stable": 1}, trouble=TROUBLES["no node"]),
    "MLflow is away": lambda: serves(artifact=None, artifact_problem=("TrackingUnavailable", "MLflow is away")),
    "MLflow is away, a pod is missing": lambda: serves(
        artifact=None, artifact_problem=("TrackingUnavailable", "MLflow is away"), ready={"stable": 1}
    ),
    "an object is rejected": lambda: serves(refusal=refused("PATCH of Service: 403: x", for_good=False)),
    # its route
    "no Gateway API": lambda: serves(gateway_api=False, weights=None),
    "another has the path": lambda: serves(route_conflict="shop/shop"),
    "another has the new host": lambda: serves(route_conflict="shop/shop", route_kept={"kind": "HTTPRoute"} | KEPT),
    "no Gateway has answered": lambda: serves(route_accepted=None),
    "the Gateway refuses": lambda: serves(route_accepted=False, route_message="ResolvedRefs: no such Service"),
    "the Gateway is behind": lambda: serves(route_behind=BEHIND),
    # a rollout
    "a rollout begins": lambda: stable().look(version=2),
    "the canary's pods start": lambda: rolls_out("Preparing", ready={"canary": 0}).look(version=2, ready={"canary": 0}),
    "the canary has no image": lambda: rolls_out("ImagePull", ready={"canary": 0}, trouble=TROUBLES["no image"]).look(
        version=2, ready={"canary": 0}, trouble=TROUBLES["no image"]
    ),
    "the weight is not applied": lambda: rolls_out("Applying").look(version=2),
    "the weight is not in the route": lambda: rolls_out("Applying").look(version=2, weights={}),
    "applying, the Gateway is behind": lambda: rolls_out("Applying").look(version=2, route_behind=BEHIND),
    "the weight is applied": lambda: stable().until("Holding", version=2),
    "holding": holds,
    "holding, the Gateway refuses": lambda: holds(route_accepted=False, route_message="ResolvedRefs: no such Service"),
    "holding, no Gateway answers": lambda: holds(route_accepted=None),
    "holding, stable is short of a pod": lambda: holds(ready={"stable": 1}),
    "the next pods start": lambda: holds(model_service(scaling={"replicas": 4}), seconds=31, ready={"canary": 1}),
    "not evaluated yet": lambda: holds(_short_holds(), seconds=6),
    "too few requests": lambda: rolls_out("MinRequests", analysed(), requests=0).look(version=2, requests=0),
    "too few requests end it": lambda: rolls_out("NoData", analysed(noData="Rollback"), requests=0).look(version=2),
    "a check fails": lambda: rolls_out("Holding", analysed(failureLimit=9)).until(
        "CheckFailing", version=2, seconds=31, errors=50
    ),
    "no pod of stable is ready": keeps_the_canary,
    "promoting": lambda: stable().until("Promoting", version=2),
    "promoted": lambda: stable().until("Promoted", version=2),
    "superseded": lambda: rolls_out("Holding").look(version=3),
    "superseded, and back": lambda: rolls_out("Holding").until("Stable", version=1),
    "it is explained": lambda: explained(),
    "its explainer has no route yet": lambda: explained(route_accepted=None),
    # pods that go
    "the canary's pods are deleted": lambda: deleted(rolls_out("Holding")),
    "the canary's pods stay deleted": lambda: deleted(loses_its_pods()),
    "the canary has no ready pod": lambda: rolls_out("Holding").look(version=2, ready={"canary": 0}),
    "the canary's endpoints are lost": lambda: loses_its_pods().look(version=2, seconds=31, ready={"canary": 0}),
    "the canary is never ready": lambda: rolls_out("Preparing", ready={"canary": 0}).look(
        version=2, seconds=601, ready={"canary": 0}
    ),
    "the canary is out of memory": lambda: holds(ready={"canary": 0}, trouble=TROUBLES["out of memory"]),
    "without steps": lambda: stable(model_service(rollout={"steps": []})).until("Applying", version=2),
    # a candidate that clients would not get on with
    "other inputs": lambda: takes_other_inputs(),
    "other inputs, a pod is missing": lambda: takes_other_inputs(ready={"stable": 1}),
    "other inputs, accepted": lambda: takes_other_inputs(model_service(annotations={ACCEPT_ANNOTATION: "2"})),
    # a rollback
    "a check failed": lambda: rolls_out("AnalysisFailed", analysed(), seconds=11, errors=50).look(version=2),
    "rolled back": lambda: rolls_out("RolledBack", analysed(), seconds=11, errors=50).look(version=2),
    # a person's hand
    "waiting for a person": lambda: rolls_out("WaitingForPerson", pauses()).look(version=2),
    "paused": lambda: steered("pause", "Paused"),
    "aborted": lambda: steered("abort", "Aborted"),
    "aborted, and back": lambda: steered("abort", "RolledBack"),
    "promoted by hand": lambda: steered("promote", "PromotedByHand"),
    "asked for something that has gone": lambda: steered("abort", "Holding", about="7"),
    "rolled back, says the tag": lambda: serves(version=2, rolled_back={artifact(2): "RolledBack"}),
}
KEPT = {"apiVersion": "gateway.networking.k8s.io/v1", "spec": {"rules": [{"matches": []}], "hostnames": []}}


def _short_holds():
    rollout = {"steps": [{"weight": 10, "hold": "5s"}], "analysis": {"interval": "10s", "checks": CHECKS}}
    return model_service(rollout=rollout)


def pauses():
    steps = [{"weight": 10, "hold": "30s", "pause": {}}]
    return model_service(rollout={"steps": steps})


def steered(act, reason, about="2") -> Plan:
    """What a person asks for when the canary has its first weight."""
    walk = rolls_out("Holding")
    marks = {ACT: act, ACT_VERSION: about, ACT_BY: "alice", ACT_AT: "2030-01-01T13:00:00Z", ACT_REASON: "it is time"}
    metadata = walk.service.metadata.model_copy(update={"annotations": marks})
    walk.service = walk.service.model_copy(update={"metadata": metadata})
    return walk.until(reason, version=2)


def _revisions():
    walk = Walk()
    walk.look()
    return [walk.service.status.canary.revision]


def uri() -> Plan:
    walk = Walk(model_service(model={"uri": "s3://team-a/model"}))
    place = replace(artifact(1), digest="", model="", version="")
    walk.look(artifact=place)
    walk.look(artifact=place)
    return walk.look(artifact=place)


@pytest.mark.parametrize("name", PLANS)
def test_no_text_of_a_model_service_is_empty_or_a_riddle(name):
    assert unclear(PLANS[name]()) == []


@pytest.mark.parametrize(
    "name", ["a pod is missing", "MLflow is away, a pod is missing", "holding, stable is short of a pod"]
)
def test_a_service_that_is_short_of_pods_counts_them_whatever_else_it_has_to_say(name):
    [degraded] = [condition for condition in PLANS[name]().status["conditions"] if condition["type"] == "Degraded"]

    assert degraded["status"] == "True"
    assert degraded["message"].startswith("1 of 2 pods are ready and serve version 1 of model team-a.text; ")


# Reasons that come from elsewhere: the registry, records of the pods' containers, and what a plan does not see.
ELSEWHERE = re.compile(
    r"\w+NotFound|Digest\w+|Training\w+|NoModel|Tracking\w+|Model\w+|SignatureMismatch|NameInUse|Alias\w+|RolledBack"
    r"|\w*Approval\w*|NotExplainable|BadConfig"
)


def test_the_table_has_every_phase_and_every_reason_that_the_reference_documents():
    plans = [made() for made in PLANS.values()]

    assert {planned.status["phase"] for planned in plans} == {phase.value for phase in Phase}
    documented = set(re.findall(r"^\| ([A-Z][A-Za-z]+) \|", REASONS.read_text(), re.MULTILINE))
    phases = {phase.value for phase in Phase}
    known = {reason for reason in documented - phases if not ELSEWHERE.fullmatch(reason)}
    assert known - {reason for planned in plans for reason in reasons_of(planned)} == set()


@pytest.mark.parametrize("name", ["no pod is ready", "serving", "a pod is missing", "holding"])
def test_a_text_stays_the_same_while_nothing_else_changes(name):
    """Each change is a write of the status."""
    walks = {
        "no pod is ready": (Walk(), {"ready": {"canary": 0}}),
        "serving": (stable(), {}),
        "a pod is missing": (stable(), {"ready": {"stable": 1}}),
        "holding": (rolls_out("Holding"), {"version": 2}),
    }
    walk, look = walks[name]
    walk.look(**look)

    before, after = walk.look(**look), walk.look(**look)

    assert [before.status[part] for part in ("message", "conditions")] == [
        after.status[part] for part in ("message", "conditions")
    ]
