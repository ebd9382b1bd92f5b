"""What a pass over a ModelService plans: revisions, rollouts, rollbacks, objects and what the registry hears."""

import dataclasses
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.modelservice import ModelService
from headrace.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    HTTPROUTES,
    MODELSERVICES,
    NETWORKPOLICIES,
    PDBS,
    SERVICES,
)
from headrace.rollout.machine import APPLY_GRACE
from headrace.rollout.propagation import THROTTLE
from headrace.serving.observed import Observed, Owned, Trouble, read_missing_pods, refused
from headrace.serving.plan import plan
from headrace.serving.revision import Artifact, revision_name
from headrace.serving.target import ACCEPT_ANNOTATION, RETRY_ANNOTATION
from runtime_builders import runtimes
from serving_builders import NOW, ROUTE, UID, artifact, model_service, serving_pod
from training_builders import SETTINGS

PROMOTES = {"steps": [{"weight": 10, "hold": "30s"}], "promotion": {"alias": "champion"}}
OOM = Trouble("OOM", "OutOfMemory", "used too much", "pod", "server", "raise resources.limits.memory", 137, True)


class Cluster:
    """A cluster in which each plan is carried out at once and every pod gets ready, unless a test says otherwise."""

    def __init__(self, service=None):
        self.service = service or model_service()
        self.now = NOW
        self.artifact: Artifact | None = artifact(1)
        self.problem = None
        self.promoted, self.rolled_back = None, {}
        self.objects = {}
        self.deployed = {}
        self.troubles = {}
        self.unready = set()
        self.pod_troubles, self.unready_pods = {}, set()  # by pod
        self.accepted, self.behind = True, ""
        self.throttle = THROTTLE
        self.pods = {}  # by revision, in place of those that its Deployment asks for
        self.settings = SETTINGS
        self.planned = None
        self.deleted = []
        self.lose_writes_after_status = False
        self.conflict = ""
        self.keeps_its_route = False
        self.refusal = None
        self.missing_pods = {}

    def revision(self, version):
        return revision_name(self.service, artifact(version))

    @property
    def status(self):
        return self.service.status

    @property
    def policy(self):
        return self.objects.get((NETWORKPOLICIES, "text.serving"))

    @property
    def weights(self):
        route = self.objects.get((HTTPROUTES, "text"))
        return (
            {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}
            if route is not None
            else None
        )

    def observe(self):
        pods = tuple(
            serving_pod(
                f"{name}-{index}",
                name,
                self.troubles.get(name) or self.pod_troubles.get(f"{name}-{index}"),
                **({"ready": False} if {name, f"{name}-{index}"} & (self.unready | self.unready_pods) else {}),
            )
            for (kind, name), obj in self.objects.items()
            if kind == DEPLOYMENTS and name not in self.pods
            for index in range(obj["spec"]["replicas"])
        )
        pods += tuple(pod for replaced in self.pods.values() for pod in replaced)
        return Observed(
            artifact=self.artifact,
            artifact_problem=self.problem,
            promoted=self.promoted,
            rolled_back=self.rolled_back,
            pods=pods,
            templates={n: o["data"]["template"] for (k, n), o in self.objects.items() if k == CONTROLLERREVISIONS},
            owned=tuple(Owned(k, n, f"uid-{n}", "") for k, n in self.objects),
            policy=self.policy["spec"] if self.policy else None,
            weights=self.weights,
            route_conflict=self.conflict,
            route_accepted=self.accepted,
            route_message="" if self.accepted else "ResolvedRefs: no such Service",
            route_behind=self.behind,
            gateway_throttle=self.throttle,
            route_kept=self.objects.get((HTTPROUTES, "text")) if self.keeps_its_route else None,
            refusal=self.refusal,
            missing_pods=self.missing_pods,
        )

    def step(self, seconds=1):
        """One pass."""
        self.now += timedelta(seconds=seconds)
        self.planned = plan(self.service, self.observe(), self.now, self.settings)
        document = self.service.model_dump(mode="json", by_alias=True) | {"status": self.planned.status}
        self.service = ModelService.model_validate(document)
        if self.lose_writes_after_status:
            return self.planned
        for kind, obj in self.planned.creates:
            self.objects.setdefault((kind, obj["metadata"]["name"]), obj)
        for kind, obj in self.planned.applies:
            self.objects[kind, obj["metadata"]["name"]] = obj
        for patch in self.planned.patches:
            assert patch.patch["metadata"]["uid"] == UID
            for name in patch.patch["metadata"]["annotations"]:
                self.service.metadata.annotations.pop(name, None)
        for delete in self.planned.deletes:
            del self.objects[delete.resource, delete.name]
            self.deleted.append(delete.name)
        return self.planned

    def until(self, phase, seconds=1, passes=200):
        for _ in range(passes):
            self.step(seconds)
            if self.status.phase == phase:
                return self
        raise AssertionError(f"never {phase}: {self.status.phase} {self.status.reason} {self.status.message}")

    def names(self, kind):
        return {name for k, name in self.objects if k == kind}

    def serve(self, version):
        """The source alias points at this version now."""
        self.artifact = artifact(version)
        return self

    def annotate(self, value):
        self.service.metadata.annotations[RETRY_ANNOTATION] = value

    def change(self, **spec):
        document = self.service.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.service = ModelService.model_validate(document | {"spec": document["spec"] | spec})


def stable():
    return Cluster().until("Stable")


# --- the first revision -----------------------------------------------------------------------------------------------


def test_the_first_revision_takes_no_steps():
    cluster = Cluster()
    cluster.step()
    assert cluster.weights is None

    cluster.until("Stable", passes=2)

    assert cluster.status.rollout is None
    assert cluster.weights == {cluster.revision(1): 100}


def twin(number, version):
    """Another version with the files of this one."""
    return replace(artifact(number), version=version, uri=f"s3://team-a/models/{version}")


def test_a_version_with_the_files_that_serve_is_told_once_and_all_places_keep_the_number_that_pods_answer():
    cluster = Cluster(model_service(rollout={"promotion": {"alias": "champion"}})).until("Stable")
    pods = dict(cluster.objects)
    cluster.artifact = twin(1, "9")

    planned = cluster.step()

    status = cluster.status
    assert (status.phase, status.reason, status.rollout, status.canary) == ("Stable", "Serving", None, None)
    assert (status.stable.model.version, status.columns.stable, status.stable.uri) == ("1", "1", artifact(1).uri)
    assert status.promotion.pending_version == "1"
    assert cluster.objects == pods
    assert "version 9 of model team-a.text has the same files as version 1" in status.message
    assert [(told.version, told.outcome, told.reason) for told in status.history] == [
        ("9", "SameFiles", "SameAsVersion1")
    ]
    assert ("9", "SameFiles") in [(told.version, told.outcome) for told in status.pending_outcomes]
    assert [event.reason for event in planned.events] == ["SameFiles"]
    first = planned.status
    planned = cluster.step(seconds=15)
    assert (planned.status, planned.events) == (first, ())


def test_the_way_back_to_a_version_with_the_files_that_serve_leaves_its_outcome_alone():
    cluster = stable().serve(2).until("Canarying").until("Stable")
    cluster.artifact = twin(2, "9")
    cluster.step()

    cluster.serve(2).step()

    assert [told.outcome for told in cluster.status.history] == ["Promoted", "SameFiles"]
    assert "same files" not in cluster.status.message


def test_a_version_that_was_served_with_an_earlier_spec_is_rolled_out_by_its_own_number():
    cluster = stable()
    cluster.artifact = twin(1, "9")
    cluster.step()
    cluster.change(resources={"limits": {"memory": "2Gi"}})

    cluster.until("Canarying").until("Stable")

    template = cluster.observe().templates[cluster.status.stable.revision]
    assert cluster.status.stable.model.version == "9"
    assert "--model-version=9" in template["spec"]["containers"][0]["args"]


def serves_four_columns(version=1, **spec):
    cluster = Cluster(model_service(rollout=PROMOTES, **spec))
    cluster.artifact = artifact(version, takes=4)
    return cluster.until("Stable")


def refuses_five_columns(**spec):
    cluster = serves_four_columns(**spec)
    cluster.artifact = artifact(2, takes=5)
    cluster.step()
    return cluster


def accept(cluster, value):
    cluster.service.metadata.annotations[ACCEPT_ANNOTATION] = value


def accepted(cluster):
    """The condition's status and reason, where it is there."""
    return [(one.status, one.reason) for one in cluster.status.conditions if one.type == "SignatureAccepted"]


def test_a_candidate_with_other_inputs_is_refused_before_anything_of_it_is_made_and_told_once():
    cluster = serves_four_columns()
    objects = dict(cluster.objects)
    cluster.artifact = artifact(2, takes=5)

    planned = cluster.step()

    status, differs = cluster.status, "input x: FP32 [-1,4] -> FP32 [-1,5]"
    assert cluster.objects == objects
    assert (status.phase, status.reason, status.rollout, status.canary) == ("Stable", "SignatureDiffers", None, None)
    assert (status.stable.model.version, status.promotion.pending_version) == ("1", "1")
    assert status.rejected == ()
    assert f"annotate --overwrite modelservice text {ACCEPT_ANNOTATION}=2" in status.message
    assert differs in status.message
    assert [(told.version, told.outcome, told.reason, told.difference) for told in status.history] == [
        ("2", "Refused", "SignatureDiffers", differs)
    ]
    assert [(told.version, told.outcome, told.difference) for told in status.pending_outcomes] == [
        ("2", "Refused", f"from version 1 of model team-a.text: {differs}")
    ]
    assert [(event.reason, differs in event.message) for event in planned.events] == [("SignatureDiffers", True)]
    assert accepted(cluster) == [("False", "SignatureDiffers")]
    assert {one.type: one.status for one in status.conditions if one.type in ("Ready", "Degraded")} == {
        "Ready": "True",
        "Degraded": "True",
    }
    first = planned.status
    planned = cluster.step(seconds=15)
    assert (planned.status, planned.events) == (first, ())


@pytest.mark.parametrize("named", ["2", artifact(2).digest])
def test_the_rollout_begins_once_the_annotation_names_the_candidate(named):
    cluster = refuses_five_columns()
    accept(cluster, named)

    cluster.step()

    assert (cluster.status.phase, cluster.status.canary.model.version) == ("Canarying", "2")
    assert accepted(cluster) == [("True", "Accepted")]
    cluster.until("Stable")
    assert [told.outcome for told in cluster.status.history] == ["Refused", "Promoted"]
    assert (cluster.status.reason, accepted(cluster)) == ("Promoted", [])


@pytest.mark.parametrize("named", ["1", "3", "", artifact(3).digest, "true"])
def test_an_annotation_that_names_another_version_accepts_nothing(named):
    cluster = refuses_five_columns()
    accept(cluster, named)

    cluster.step()

    assert (cluster.status.reason, cluster.status.canary) == ("SignatureDiffers", None)


def test_an_annotation_that_stays_accepts_no_later_candidate():
    cluster = refuses_five_columns()
    accept(cluster, "2")
    cluster.until("Canarying").until("Stable")
    cluster.artifact = artifact(3, takes=6)

    cluster.step()

    assert (cluster.status.reason, cluster.status.stable.model.version) == ("SignatureDiffers", "2")
    assert cluster.status.history[-1].difference == "input x: FP32 [-1,5] -> FP32 [-1,6]"


def test_a_rollout_that_was_accepted_goes_on_without_the_annotation():
    cluster = refuses_five_columns()
    accept(cluster, "2")
    cluster.until("Canarying")
    cluster.service.metadata.annotations.clear()

    cluster.until("Stable")

    assert cluster.status.stable.model.version == "2"


@pytest.mark.parametrize("takes", [-1, 4, None])
def test_a_candidate_that_takes_what_clients_send_or_is_not_described_is_rolled_out(takes):
    cluster = serves_four_columns()
    cluster.artifact = artifact(2, takes=takes)

    cluster.step()

    assert (cluster.status.phase, accepted(cluster)) == ("Canarying", [])


def test_nothing_is_compared_with_a_stable_version_that_is_not_described():
    cluster = stable()
    cluster.artifact = artifact(2, takes=5)

    cluster.step()

    assert cluster.status.phase == "Canarying"


def test_the_signature_of_what_serves_is_learned_without_a_rollout():
    cluster = stable()
    cluster.artifact = artifact(1, takes=4)
    cluster.step()
    cluster.artifact = artifact(2, takes=5)

    cluster.step()

    assert cluster.status.reason == "SignatureDiffers"


def test_the_way_back_to_an_older_signature_is_refused_too_unless_it_was_accepted_before():
    cluster = refuses_five_columns()
    accept(cluster, "2")
    cluster.until("Canarying").until("Stable")
    cluster.artifact = artifact(1, takes=4)
    cluster.step()
    assert cluster.status.reason == "SignatureDiffers"
    cluster.artifact = artifact(2, takes=5)
    cluster.step()
    assert (cluster.status.reason, accepted(cluster)) == ("Serving", [])

    accept(cluster, "1")
    cluster.artifact = artifact(1, takes=4)
    cluster.until("Canarying", passes=1).until("Stable")

    assert cluster.status.stable.model.version == "1"


def test_a_canary_that_is_taken_back_goes_to_the_older_signature_unasked():
    cluster = refuses_five_columns()
    accept(cluster, "2")
    cluster.until("Canarying")
    cluster.troubles[cluster.revision(2)] = OOM

    cluster.until("RolledBack")

    assert cluster.weights == {cluster.revision(1): 100}
    assert (cluster.status.reason, accepted(cluster)) == ("OutOfMemory", [("True", "Accepted")])


def test_another_try_of_what_was_taken_back_needs_the_annotation_too_and_leaves_the_tag_alone():
    cluster = refuses_five_columns()
    accept(cluster, "2")
    cluster.until("Canarying")
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.until("RolledBack")
    cluster.service.metadata.annotations.clear()
    cluster.annotate("2")

    cluster.step()

    assert (cluster.status.reason, cluster.status.canary) == ("SignatureDiffers", None)
    assert [told.outcome for told in cluster.status.pending_outcomes if told.version == "2"] == ["RolledBack"]
    cluster.troubles.clear()
    accept(cluster, "2")
    cluster.until("Canarying", passes=1).until("Stable")
    assert cluster.status.stable.model.version == "2"


def test_a_changed_spec_reaches_what_is_stable_while_a_candidate_is_refused():
    cluster = refuses_five_columns()
    before = cluster.status.stable.revision
    cluster.change(resources={"limits": {"memory": "2Gi"}})

    cluster.until("Canarying").until("Stable")
    cluster.step()

    assert (cluster.status.stable.model.version, cluster.status.reason) == ("1", "SignatureDiffers")
    assert cluster.status.stable.revision != before


def test_a_candidate_that_is_refused_takes_back_a_rollout_that_is_under_way():
    cluster = serves_four_columns()
    cluster.artifact = artifact(2, takes=4)
    cluster.until("Canarying")
    cluster.artifact = artifact(3, takes=5)

    cluster.until("RollingBack").until("Stable")
    cluster.step()

    assert [(told.version, told.outcome) for told in cluster.status.history] == [("2", "Superseded"), ("3", "Refused")]
    assert cluster.names(DEPLOYMENTS) == {cluster.revision(1)}


def test_another_models_version_is_compared_and_its_tags_are_left_alone():
    cluster = serves_four_columns()
    before = cluster.status.pending_outcomes
    cluster.artifact = artifact(2, model="team-a.other", takes=5)

    cluster.step()

    assert (cluster.status.reason, cluster.status.pending_outcomes) == ("SignatureDiffers", before)


def test_a_refusal_stands_while_mlflow_is_away_and_is_not_told_again():
    cluster = refuses_five_columns()
    cluster.artifact, cluster.problem = None, ("TrackingUnavailable", "MLflow does not answer")
    cluster.step()
    assert accepted(cluster) == [("False", "SignatureDiffers")]
    cluster.artifact, cluster.problem = artifact(2, takes=5), None

    planned = cluster.step()

    assert (cluster.status.reason, planned.events) == ("SignatureDiffers", ())


def test_a_service_whose_status_is_lost_refuses_it_again():
    cluster = refuses_five_columns()
    cluster.service = model_service(rollout=PROMOTES)
    cluster.promoted = artifact(1, takes=4)

    cluster.until("Stable")
    cluster.step()

    assert (cluster.status.stable.model.version, cluster.status.reason) == ("1", "SignatureDiffers")


def test_a_first_revision_whose_alias_moves_to_the_same_files_keeps_the_number_that_its_pods_were_told():
    cluster = Cluster()
    cluster.unready = {cluster.revision(1)}
    cluster.step()
    cluster.artifact = twin(1, "9")
    cluster.step()
    cluster.unready = set()

    cluster.until("Stable")

    assert cluster.status.stable.model.version == "1"


def test_the_same_files_in_another_model_move_that_models_alias_and_no_pod():
    cluster = Cluster(model_service(rollout={"promotion": {"alias": "champion"}})).until("Stable")
    cluster.artifact = replace(artifact(1, model="team-a.other"), version="9")

    cluster.step()

    assert cluster.status.promotion.pending_version == "9"
    assert (cluster.status.phase, cluster.status.rollout) == ("Stable", None)


def test_which_format_was_judged_is_learned_without_a_rollout_and_forgotten_with_the_version():
    def told():
        return [one.reason for one in cluster.status.conditions if one.type == "FormatJudged"]

    cluster = stable()
    assert told() == []
    cluster.artifact = replace(artifact(1), judged_format="TensorFlow")

    cluster.step()

    assert (told(), cluster.status.canary) == (["OtherFormatJudged"], None)
    cluster.serve(2).until("Canarying").until("Stable")
    assert told() == []


def test_an_alias_that_is_named_later_is_promised_once():
    cluster = stable()
    cluster.change(rollout={"promotion": {"alias": "champion"}})
    cluster.step()
    kept = cluster.status.promotion.model_copy(update={"expected_version": "1", "pending_version": None})
    cluster.service = cluster.service.model_copy(
        update={"status": cluster.status.model_copy(update={"promotion": kept})}
    )

    cluster.step()

    assert cluster.status.promotion == kept


def test_nothing_is_stable_before_a_pod_is_ready():
    cluster = Cluster()
    cluster.unready = {cluster.revision(1)}
    for _ in range(5):
        cluster.step()

    assert (cluster.status.stable, cluster.status.reason) == (None, "WaitingForPods")


def condition(cluster, kind):
    return {c.type: c for c in cluster.status.conditions}[kind]


def test_the_first_revision_serves_with_its_first_ready_pod_and_names_those_that_are_missing():
    cluster = Cluster(model_service(scaling={"replicas": 3}))
    cluster.step()
    third = f"{cluster.revision(1)}-2"
    cluster.pod_troubles = {third: Trouble("Scheduling", "Unschedulable", "0/1 nodes are available", third, "")}

    cluster.step()

    assert cluster.weights == {cluster.revision(1): 100}
    assert cluster.names(SERVICES) == {cluster.revision(1), "text"}
    assert (cluster.status.phase, cluster.status.columns.ready) == ("Stable", "True")
    assert (condition(cluster, "Ready").status, condition(cluster, "Degraded").status) == ("True", "True")
    assert cluster.status.reason == condition(cluster, "Degraded").reason == "Unschedulable"
    assert "2 of 3 pods" in cluster.status.message
    assert third in cluster.status.message


def test_a_pod_that_is_missing_for_no_known_reason_is_named_too():
    cluster = Cluster(model_service(scaling={"replicas": 3}))
    cluster.step()
    third = f"{cluster.revision(1)}-2"
    cluster.unready_pods = {third}

    cluster.step()

    assert cluster.status.reason == "PodsMissing"
    assert third in cluster.status.message
    cluster.unready_pods = set()
    cluster.step()
    assert (cluster.status.reason, condition(cluster, "Degraded").status) == ("Serving", "False")


def test_a_first_revision_that_is_asked_for_more_pods_while_it_starts_serves_with_those_it_has():
    cluster = Cluster(model_service(scaling={"replicas": 1}))
    cluster.step()
    cluster.change(scaling={"replicas": 4})

    cluster.step()

    assert cluster.status.phase == "Stable"
    assert "3 that are not created yet" in cluster.status.message


def test_what_the_api_server_does_not_take_is_told_once_and_tried_again():
    cluster = Cluster()
    cluster.refusal = refused("PATCH of Deployment: 422 Invalid: must be an integer", for_good=True)
    cluster.unready.add(cluster.revision(1))

    first, second, third = cluster.step(), cluster.step(), cluster.step()

    assert (cluster.status.phase, cluster.status.reason) == ("Failed", "Refused")
    assert "must be an integer" in cluster.status.message
    assert [event.reason for event in first.events] == ["Refused"]
    assert (second.events, third.events, third.status) == ((), (), second.status)
    assert DEPLOYMENTS in [kind for kind, _ in third.applies]


def test_pods_that_cannot_be_made_are_told_with_their_controllers_words():
    cluster = Cluster()
    revision = cluster.revision(1)
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": "pods are forbidden: exceeded quota"}]
    cluster.missing_pods = {revision: read_missing_pods({"status": {"conditions": conditions}})}
    cluster.unready.add(revision)

    cluster.step()

    assert (cluster.status.phase, cluster.status.reason) == ("Pending", "PodsRefused")
    assert "exceeded quota" in cluster.status.message


def test_a_deployment_whose_pods_can_be_made_is_no_trouble():
    conditions = [{"type": "ReplicaFailure", "status": "False", "message": ""}]

    assert read_missing_pods({"status": {"conditions": conditions}}) is read_missing_pods({}) is None


def test_a_canary_that_waits_for_its_pods_says_what_keeps_them():
    cluster = stable().serve(2)
    cluster.unready.add(cluster.revision(2))
    cluster.missing_pods = {cluster.revision(2): Trouble("Config", "PodsRefused", "exceeded quota", "", "")}

    cluster.step()
    cluster.step()

    assert (cluster.status.phase, cluster.status.reason) == ("Canarying", "PodsRefused")
    assert "exceeded quota" in cluster.status.message


def test_a_revision_is_a_deployment_a_service_a_budget_and_a_record():
    cluster = stable()
    cluster.step()
    name = cluster.revision(1)

    assert cluster.names(DEPLOYMENTS) == cluster.names(PDBS) == cluster.names(CONTROLLERREVISIONS) == {name}
    assert cluster.names(SERVICES) == {name, "text"}
    assert cluster.objects[SERVICES, "text"]["spec"]["selector"]["headrace.dev/revision"] == name


def test_what_cannot_be_resolved_is_said_and_leaves_what_serves_alone():
    cluster = stable()
    cluster.step()
    before = dict(cluster.objects)
    cluster.artifact, cluster.problem = None, ("TrackingUnavailable", "MLflow does not answer")

    cluster.step()

    assert (cluster.status.phase, cluster.status.reason) == ("Stable", "TrackingUnavailable")
    assert cluster.objects.keys() == before.keys()


def test_the_number_of_pods_can_be_changed_while_the_registry_is_away():
    cluster = stable()
    cluster.artifact, cluster.problem = None, ("TrackingUnavailable", "MLflow does not answer")
    cluster.change(scaling={"replicas": 5})

    cluster.step()

    assert cluster.objects[DEPLOYMENTS, cluster.revision(1)]["spec"]["replicas"] == 5


# --- a rollout --------------------------------------------------------------------------------------------------------


def test_a_new_version_goes_through_the_steps_and_takes_over():
    cluster = stable().serve(2)
    seen = []
    while cluster.status.stable.revision != cluster.revision(2):
        cluster.step()
        share = (cluster.weights or {}).get(cluster.revision(2), 0)
        if share and share not in seen:
            seen.append(share)
    cluster.step()

    assert seen == [10, 50, 100]
    assert cluster.weights == {cluster.revision(2): 100}
    assert cluster.names(DEPLOYMENTS) == {cluster.revision(2)}
    assert [(record.outcome, record.version) for record in cluster.status.history] == [("Promoted", "2")]
    assert [(told.version, told.outcome) for told in cluster.status.pending_outcomes] == [("2", "Promoted")]


def test_a_canary_with_a_final_problem_is_taken_back_and_not_tried_again():
    cluster = stable().serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    cluster.troubles[cluster.revision(2)] = OOM

    cluster.step()
    assert cluster.weights == {cluster.revision(1): 100}
    assert cluster.revision(2) in cluster.names(DEPLOYMENTS), "its pods stay until the gateway has let go of them"

    cluster.until("RolledBack")
    cluster.step(seconds=3600)
    assert cluster.names(DEPLOYMENTS) == {cluster.revision(1)}
    assert (cluster.status.phase, cluster.status.reason) == ("RolledBack", "OutOfMemory")
    assert f"{RETRY_ANNOTATION}=2" in cluster.status.message


def at_its_first_weight():
    cluster = Cluster(model_service(scaling={"replicas": 1})).until("Stable").serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    return cluster


def test_a_canary_whose_only_pod_is_deleted_waits_for_the_next_one_and_goes_on():
    cluster = at_its_first_weight()
    canary = cluster.revision(2)
    cluster.pods[canary] = (serving_pod("old", canary, going=True, disrupted=True),)

    told = cluster.step()

    assert cluster.weights == {cluster.revision(1): 100}
    assert (cluster.status.phase, cluster.status.reason) == ("Canarying", "CanaryUnavailable")
    assert cluster.status.columns.canary == "2 0% 1/2"
    assert cluster.status.message == (
        "waiting for pods: 0 of 1 pods of the canary are ready for a weight of 10%; its pods were deleted, evicted, "
        "preempted or lost with their node; the canary gets no requests until then"
    )
    assert [(event.type, event.reason) for event in told.events] == [("Warning", "CanaryUnavailable")]
    cluster.pods[canary] = (serving_pod("new", canary, created=cluster.now),)
    cluster.step()
    assert cluster.weights == {cluster.revision(1): 90, canary: 10}

    cluster.until("Stable")
    assert cluster.status.stable.revision == canary
    assert (cluster.status.rejected, cluster.status.failure) == ((), None)


def test_a_canary_out_of_memory_says_so_and_not_that_its_endpoints_are_lost():
    """It is unready before the kubelet has started it again: then it is known for good."""
    cluster = at_its_first_weight()
    cluster.troubles[cluster.revision(2)] = replace(OOM, final=False)
    cluster.step()
    assert (cluster.status.phase, cluster.status.reason) == ("Canarying", "CanaryUnavailable")
    assert "raise resources.limits.memory" in cluster.status.message

    cluster.step(seconds=30)

    rejected, record = cluster.status.rejected[-1], cluster.until("RolledBack").status.history[-1]
    assert {cluster.status.reason, rejected.reason, record.reason} == {"OutOfMemory"}
    assert "used too much" in rejected.message
    assert cluster.status.failure.reason == "OutOfMemory"


@pytest.mark.parametrize("name", ["version", "digest", "revision"])
def test_a_rejected_version_is_tried_again_when_the_annotation_names_it(name):
    cluster = rejected()
    cluster.annotate({"version": "2", "digest": artifact(2).digest, "revision": cluster.revision(2)}[name])

    cluster.step()

    assert cluster.status.phase == "Canarying"


@pytest.mark.parametrize("other", ["", "1", "yes", "3"])
def test_an_annotation_that_names_something_else_tries_nothing_again(other):
    cluster = rejected()
    cluster.annotate(other)

    cluster.step()

    assert cluster.status.phase == "RolledBack"


def test_a_retry_is_granted_once():
    """The annotation is taken off: left there, a bad version would be rolled out again after each rollback."""
    cluster = rejected()
    cluster.annotate("2")
    cluster.until("RollingBack")
    cluster.until("RolledBack")

    for _ in range(10):
        cluster.step()
        assert cluster.status.phase == "RolledBack"
    assert RETRY_ANNOTATION not in cluster.service.metadata.annotations


def test_a_changed_spec_reaches_what_is_stable_first_and_then_what_was_rejected_with_the_old_one():
    """Out of memory, says the hint, raise the limit: that is something that changed."""
    cluster = rejected()
    cluster.change(resources={"limits": {"memory": "8Gi"}})

    cluster.step()
    assert cluster.status.canary.revision == cluster.revision(1)
    cluster.until("Stable")
    assert cluster.status.stable.revision == cluster.revision(1)

    cluster.until("Canarying", passes=3)
    assert cluster.status.canary.revision == cluster.revision(2)


def test_a_changed_spec_that_is_turned_back_says_nothing_about_the_version_that_serves():
    cluster = stable()
    cluster.change(resources={"limits": {"memory": "1Mi"}})
    cluster.step()
    cluster.troubles[cluster.revision(1)] = OOM

    cluster.until("RolledBack")

    assert [entry.revision for entry in cluster.status.rejected] == [cluster.revision(1)]
    assert cluster.status.pending_outcomes == ()


def restored(service=None):
    """Deleted and applied again after version 2 was rolled back."""
    promotes = {"steps": [{"weight": 10, "hold": "30s"}], "promotion": {"alias": "champion"}}
    cluster = Cluster(service or model_service(rollout=promotes)).serve(2)
    cluster.rolled_back = {artifact(2): "AnalysisFailed"}
    return cluster


def test_a_service_that_lost_its_status_serves_what_was_promoted_and_says_why_not_the_source():
    cluster = restored()
    cluster.promoted = artifact(1)

    for _ in range(5):
        planned = cluster.step()

    assert cluster.weights == {cluster.revision(1): 100}
    assert cluster.status.promotion.pending_version == "1"
    assert (cluster.status.phase, cluster.status.reason) == ("RolledBack", "AnalysisFailed")
    assert cluster.status.columns.ready == "True"
    assert f"{RETRY_ANNOTATION}=2" in cluster.status.message
    assert planned.events == ()


def test_a_new_version_at_the_source_is_a_canary_beside_what_was_promoted():
    cluster = restored().serve(3)
    cluster.promoted = artifact(1)

    cluster.until("Canarying")

    assert (cluster.status.stable.revision, cluster.status.canary.revision) == (
        cluster.revision(1),
        cluster.revision(3),
    )


def test_what_was_rolled_back_is_served_to_nobody_where_nothing_was_promoted():
    cluster = restored()

    for _ in range(3):
        cluster.step()

    assert (cluster.status.phase, cluster.status.reason) == ("Pending", "AnalysisFailed")
    assert cluster.names(DEPLOYMENTS) == cluster.names(SERVICES) == cluster.names(HTTPROUTES) == set()


def test_what_was_rolled_back_is_the_first_revision_when_somebody_asks_and_its_tag_is_corrected():
    cluster = restored()
    cluster.annotate("2")

    cluster.until("Stable")

    assert cluster.status.stable.revision == cluster.revision(2)
    assert RETRY_ANNOTATION not in cluster.service.metadata.annotations
    assert [(told.version, told.outcome) for told in cluster.status.pending_outcomes] == [("2", "Promoted")]
    cluster.step()
    assert cluster.status.phase == "Stable"


def rejected():
    cluster = stable().serve(2)
    cluster.step()
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.until("RolledBack")
    cluster.step()
    return cluster


def test_an_alias_moved_back_supersedes_the_rollout():
    cluster = stable().serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    cluster.serve(1).step()

    assert cluster.weights == {cluster.revision(1): 100}
    cluster.until("Stable")
    cluster.step()
    assert cluster.names(DEPLOYMENTS) == {cluster.revision(1)}
    assert cluster.status.history[-1].outcome == "Superseded"
    assert not cluster.status.rejected


def test_a_version_that_is_newer_than_the_canary_supersedes_it_and_gets_its_own_rollout():
    cluster = stable().serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    cluster.serve(3).until("RollingBack").until("Canarying")

    assert cluster.status.canary.revision == cluster.revision(3)
    assert cluster.status.rollout.step == 0


def test_something_newer_waits_while_the_canary_alone_answers():
    cluster = stable().serve(2)
    while (cluster.weights or {}).get(cluster.revision(2)) != 50:
        cluster.step()
    cluster.unready.add(cluster.revision(1))
    cluster.step()
    cluster.serve(3)

    kept = [(cluster.step(), cluster.weights)[1] for _ in range(5)]
    cluster.until("Stable")

    assert kept == [{cluster.revision(1): 50, cluster.revision(2): 50}] * 5
    assert cluster.status.stable.revision == cluster.revision(2)
    cluster.until("Canarying")
    assert cluster.status.canary.revision == cluster.revision(3)


def test_a_canary_is_watched_while_the_registry_is_away():
    cluster = stable().serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    cluster.artifact, cluster.problem = None, ("TrackingUnavailable", "MLflow does not answer")
    cluster.troubles[cluster.revision(2)] = OOM

    cluster.step()

    assert cluster.status.phase == "RollingBack"
    assert cluster.weights == {cluster.revision(1): 100}


def test_a_rollback_that_was_promised_and_not_written_keeps_the_pods_until_the_route_was_seen_without_them():
    """Killed between status and route, and back long after the grace: the pods still have requests."""
    cluster = stable().serve(2)
    while not (cluster.weights or {}).get(cluster.revision(2)):
        cluster.step()
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.lose_writes_after_status = True
    cluster.step()
    assert cluster.status.phase == "RollingBack"
    cluster.lose_writes_after_status = False

    cluster.step(seconds=3600)

    assert cluster.weights == {cluster.revision(1): 100}
    assert cluster.revision(2) in cluster.names(DEPLOYMENTS)
    cluster.step(seconds=APPLY_GRACE.total_seconds() - 1)
    assert cluster.revision(2) in cluster.names(DEPLOYMENTS)
    cluster.until("RolledBack", passes=2)


@pytest.mark.parametrize(("accepted", "reason"), [(False, "RouteRefused"), (None, "RoutePending")])
def test_a_route_that_no_gateway_carries_walks_no_steps_and_the_model_is_not_rejected(accepted, reason):
    cluster = at_its_first_weight()
    cluster.accepted = accepted
    for _ in range(20):
        cluster.step(seconds=60)

    assert (cluster.status.phase, cluster.status.reason) == ("Canarying", reason)
    assert "ResolvedRefs: no such Service" in cluster.status.message or accepted is None
    assert cluster.weights[cluster.revision(2)] == 10
    cluster.accepted = True
    assert cluster.until("Stable").status.stable.revision == cluster.revision(2)


@pytest.mark.parametrize(
    ("accepted", "reason", "said"),
    [(None, "RoutePending", "no Gateway has reported"), (False, "RouteRefused", "no such Service")],
)
def test_pods_that_no_request_gets_to_are_not_said_to_serve(accepted, reason, said):
    cluster = Cluster()
    cluster.accepted = accepted
    events = [event for _ in range(4) for event in cluster.step().events]

    assert [(event.reason, said in event.message) for event in events] == [(reason, True)]
    assert (cluster.status.phase, cluster.status.reason) == ("Stable", reason)
    assert said in cluster.status.message
    assert cluster.status.columns.ready == "False"
    cluster.accepted = True
    assert [event.reason for event in cluster.step().events] == ["Serving"]
    assert (cluster.status.reason, cluster.status.columns.ready) == ("Serving", "True")


def test_pods_stay_while_the_gateway_is_behind_the_route_that_takes_their_weight():
    cluster = at_its_first_weight()
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.behind = "HTTPRoute not programmed yet"
    for _ in range(20):
        cluster.step(seconds=60)
    assert cluster.revision(2) in cluster.names(DEPLOYMENTS)

    cluster.behind = ""
    cluster.until("RolledBack", passes=10)


def test_pods_go_when_the_gateway_has_refused_the_route_that_takes_their_weight():
    """There is nothing more to wait for: what it refuses it does not serve."""
    cluster = at_its_first_weight()
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.accepted = False

    cluster.until("RolledBack", passes=10)


def test_pods_stay_for_as_long_as_the_gateway_collects_changes():
    cluster = at_its_first_weight()
    cluster.throttle = timedelta(seconds=10)
    cluster.troubles[cluster.revision(2)] = OOM
    cluster.step()
    for _ in range(19):
        cluster.step()
        assert cluster.revision(2) in cluster.names(DEPLOYMENTS)

    cluster.until("RolledBack", passes=2)


def test_the_outcome_of_another_model_is_not_written_on_the_stable_models_version_of_that_number():
    cluster = stable()
    cluster.service = replace_status(cluster.service, pending_outcomes=())
    cluster.artifact = artifact(1, model="team-a.other")
    cluster.artifact = dataclasses.replace(cluster.artifact, digest="sha256:" + "f" * 64)
    cluster.step()
    cluster.troubles[cluster.status.canary.revision] = OOM

    cluster.step()

    assert cluster.status.phase == "RollingBack"
    assert cluster.status.pending_outcomes == ()


def replace_status(service, **fields):
    return service.model_copy(update={"status": service.status.model_copy(update=fields)})


def test_the_scale_subresource_speaks_of_the_stable_revision_alone():
    """Else an autoscaler would count the canary's pods, and raise spec.scaling.replicas by a rollout."""
    cluster = Cluster(model_service(scaling={"replicas": 4})).until("Stable").serve(2)
    seen = set()
    while (cluster.weights or {}).get(cluster.revision(2)) != 50:
        cluster.step()
        seen.add((cluster.status.replicas, cluster.status.selector))

    uid = f"headrace.dev/modelservice-uid={UID}"
    assert seen == {(4, f"{uid},headrace.dev/revision={cluster.revision(1)}")}
    cluster.until("Stable")
    assert cluster.status.selector == f"{uid},headrace.dev/revision={cluster.revision(2)}"


# --- objects ----------------------------------------------------------------------------------------------------------


def test_an_upgrade_of_the_operator_rolls_nothing():
    """A release with other images: what runs keeps the template that was recorded when it was made."""
    cluster = stable()
    cluster.step()
    before = cluster.objects[DEPLOYMENTS, cluster.revision(1)]["spec"]["template"]
    cluster.settings = replace(SETTINGS, runtimes=runtimes("headrace/onnxruntime:2"), loader_image="headrace/loader:2")

    cluster.step()

    assert cluster.objects[DEPLOYMENTS, cluster.revision(1)]["spec"]["template"] == before
    assert cluster.status.phase == "Stable"
    cluster.serve(2).step()
    newer = cluster.objects[DEPLOYMENTS, cluster.revision(2)]["spec"]["template"]["spec"]
    assert newer["containers"][0]["image"] == "headrace/onnxruntime:2"


def test_a_route_that_somebody_else_has_is_not_written_and_said():
    cluster = stable()
    cluster.conflict = "team-b/other"

    planned = cluster.step()

    assert HTTPROUTES not in {kind for kind, _ in planned.applies}
    condition = {c.type: c for c in cluster.status.conditions}["RouteAccepted"]
    assert (condition.status, condition.reason) == ("False", "RouteConflict")
    assert "team-b/other" in condition.message


def test_a_services_pods_are_reached_by_its_namespace_the_platform_and_who_may_reach_models():
    """A canary is judged by what its pods count: a stranger's requests would be a vote."""
    cluster = Cluster(
        model_service(route=ROUTE | {"parentRefs": [{"name": "own"}, {"name": "g", "namespace": "edge"}]})
    )
    cluster.settings = replace(SETTINGS, model_clients={"headrace.dev/model-client": "true"})

    cluster.step()

    (rule,) = cluster.policy["spec"]["ingress"]
    named, labelled = (peer["namespaceSelector"] for peer in rule["from"])
    assert named["matchExpressions"][0]["values"] == ["edge", "headrace-system", "team-a"]
    assert labelled == {"matchLabels": {"headrace.dev/model-client": "true"}}
    pods = cluster.observe().templates[cluster.revision(1)]["metadata"]["labels"]
    assert cluster.policy["spec"]["podSelector"]["matchLabels"].items() <= pods.items()


def test_a_policy_is_written_when_it_differs_and_goes_where_the_installation_wants_none():
    cluster = stable()
    assert NETWORKPOLICIES not in {kind for kind, _ in cluster.step().applies}
    cluster.policy["spec"]["ingress"] = []
    assert NETWORKPOLICIES in {kind for kind, _ in cluster.step().applies}

    cluster.settings = replace(SETTINGS, serving_policies=False)
    cluster.step()

    assert cluster.policy is None
    assert cluster.names(SERVICES) == {cluster.revision(1), "text"}


def test_a_service_that_asks_for_somebody_elses_host_keeps_the_route_that_it_has_and_rolls_on():
    cluster = stable()
    before = cluster.objects[HTTPROUTES, "text"]["spec"]
    cluster.change(route=ROUTE | {"hostnames": ["shop.example.com"]})
    cluster.conflict, cluster.keeps_its_route = "shop/shop", True

    cluster.serve(2).until("Canarying").until("Stable")
    cluster.step()

    after = cluster.objects[HTTPROUTES, "text"]["spec"]
    assert (after["hostnames"], after["rules"][0]["matches"]) == (before["hostnames"], before["rules"][0]["matches"])
    assert cluster.weights == {cluster.revision(2): 100}
    condition = {c.type: c for c in cluster.status.conditions}["RouteAccepted"]
    assert (condition.status, condition.reason) == ("False", "RouteConflict")
    assert "shop/shop" in condition.message


def test_without_gateway_api_the_route_is_left_out_and_the_condition_says_what_to_install():
    cluster = stable()
    observed = replace(cluster.observe(), gateway_api=False, weights=None)

    planned = plan(cluster.service, observed, NOW, SETTINGS)

    assert HTTPROUTES not in {kind for kind, _ in planned.applies}
    (said,) = [c for c in planned.status["conditions"] if c["type"] == "RouteAccepted"]
    assert (said["status"], said["reason"]) == ("False", "GatewayAPIMissing")


def test_a_service_that_is_going_is_left_to_the_garbage_collector():
    service = model_service()
    going = service.model_copy(update={"metadata": service.metadata.model_copy(update={"deletion_timestamp": NOW})})

    assert plan(going, Observed(artifact(1), None), NOW, SETTINGS).status is None


def test_a_settled_service_plans_the_same_status_again():
    """Else each pass would write, each write would wake the next pass, and the API server would have no peace."""
    cluster = stable()
    cluster.step()
    first = cluster.planned.status

    assert cluster.step(seconds=15).status == first
    assert cluster.planned.events == ()


# --- what holds on every way ------------------------------------------------------------------------------------------

events = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 1, 2, 5, 31])),
        st.tuples(st.just("serve"), st.integers(1, 3)),
        st.tuples(st.just("trouble"), st.integers(1, 3)),
        st.tuples(st.just("recover"), st.integers(1, 3)),
        st.tuples(st.just("unready"), st.integers(2, 3)),
        st.tuples(st.just("killed"), st.booleans()),
        st.tuples(st.just("away"), st.booleans()),
        st.tuples(st.just("scale"), st.integers(1, 6)),
    ),
    max_size=40,
)


@given(events)
@settings(max_examples=100, deadline=None)
def test_whatever_happens_weights_sum_to_100_and_nothing_goes_that_had_weight(happens):
    cluster = stable()
    let_go = {}  # since when the route has been seen without a revision
    for what, value in happens:
        revision = cluster.revision(value) if what in ("trouble", "recover", "unready") else ""
        if what == "serve":
            cluster.serve(value)
        elif what == "trouble":
            cluster.troubles[revision] = OOM
        elif what == "recover":
            cluster.troubles.pop(revision, None)
            cluster.unready.discard(revision)
        elif what == "unready":
            cluster.unready.add(revision)
        elif what == "killed":
            cluster.lose_writes_after_status = value
        elif what == "away":
            cluster.artifact, cluster.problem = (None, ("Away", "away")) if value else (artifact(1), None)
        elif what == "scale":
            cluster.change(scaling={"replicas": value})
        routed = cluster.weights or {}
        cluster.step(value if what == "wait" else 1)
        weights = cluster.weights or {}

        if weights:
            assert sum(weights.values()) == 100
            assert weights.keys() <= cluster.names(DEPLOYMENTS)
        for name in cluster.deleted:
            assert name not in routed
            if name in let_go:
                assert cluster.now - let_go[name] >= APPLY_GRACE
        cluster.deleted.clear()
        for name in routed.keys() - weights.keys():
            let_go[name] = cluster.now
        for name in weights:
            let_go.pop(name, None)
    assert {kind for kind, _ in cluster.objects} <= {
        CONTROLLERREVISIONS,
        DEPLOYMENTS,
        SERVICES,
        PDBS,
        NETWORKPOLICIES,
        HTTPROUTES,
        MODELSERVICES,
    }
