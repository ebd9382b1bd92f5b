"""A version that waits for a person: from its registration to what the status says of the decision."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from headrace.api.trainingjob import ModelApproval, TrainingJob
from headrace.kube.plan import Plan
from headrace.kube.resources import TRAININGJOBS
from headrace.tracking.errors import AliasReserved, NotFound, TrackingUnavailable
from headrace.tracking.records import ModelVersion, Run
from headrace.training.approval import decided, is_awaiting, is_unrecorded
from headrace.training.approving import paragraph, record_decision, tags_of
from headrace.training.finish import finish
from headrace.training.observed import Observed
from headrace.training.plan import plan
from headrace.training.status import finish_status
from headrace.training.view import Start
from training_builders import NOW, SETTINGS, UID, training_job

DIGEST = "sha256:" + "a" * 64
RUN = {"id": "r", "experimentID": "3", "url": "http://localhost:5000/#/experiments/3/runs/r"}
ARTIFACTS = "s3://team-a/mlflow/x/1/artifacts"
OUTPUT = {"model": "text", "alias": "candidate", "approval": {"required": True}}
SPEC = {"tracking": {"experiment": "x"}, "output": OUTPUT, "evaluation": {"gates": [{"metric": "acc", "min": "0.1"}]}}
NOTHING = Observed((), (), None)
APPROVED = {"headrace.dev/approval": "Approved", "headrace.dev/approval-by": "alice"}
REFUSED = {
    "headrace.dev/approval": "Refused",
    "headrace.dev/approval-by": "bob",
    "headrace.dev/approval-reason": "too many\nblurred pictures",
}


@dataclass
class Registry:
    """MLflow with one good run; `refusal` is what pointing the alias raises, `gone` what tagging a version does.
    `owner` is the ModelService whose promotion alias each alias is.
    """

    refusal: Exception | None = None
    gone: Exception | None = None
    owner: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""
    aliases: dict[str, str] = field(default_factory=dict)

    async def find_run(self, *_):
        return Run("r", "3", "FINISHED", ARTIFACTS, metrics={"acc": 0.5}, tags={"headrace.digest": DIGEST})

    async def tag_run(self, *_):
        """Written."""

    async def ensure_model(self, *_):
        return type("Model", (), {"name": "team-a.text"})

    async def register(self, model, run_id, digest, source, attempt_tag, notes):
        self.tags |= notes.tags
        return ModelVersion("team-a.text", "7", source, tags=notes.tags)

    async def tag_version(self, model, version, tags):
        if self.gone is not None:
            raise self.gone
        self.tags |= tags

    async def describe_version(self, model, version, paragraph):
        self.description = paragraph

    async def alias_owner(self, model, alias):
        return self.owner

    async def point_alias(self, model, alias, version):
        if self.refusal is not None:
            raise self.refusal
        self.aliases[alias] = version


def with_marks(job: TrainingJob, marks: dict[str, str]) -> TrainingJob:
    return job.model_copy(update={"metadata": job.metadata.model_copy(update={"annotations": marks})})


def registered(registry: Registry, **spec) -> TrainingJob:
    """A job at whose end `finish` was called."""
    model = {"name": "team-a.text", "uri": f"{ARTIFACTS}/model", "digest": DIGEST}
    status = {"state": "Finishing", "model": model, "run": RUN}
    job = training_job(status, workers=1, **SPEC | spec)
    verdict = asyncio.run(finish(job, registry, "", NOW))
    return training_job(finish_status(job, verdict.status, NOW), workers=1, **SPEC | spec)


def look(job: TrainingJob, marks: dict[str, str] | None = None, now=NOW, *, enforced: bool = True) -> Plan:
    settings = replace(SETTINGS, approvals_enforced=enforced)
    return plan(with_marks(job, marks or {}), NOTHING, Start(), now, settings)


def tell(job: TrainingJob, registry: Registry) -> Plan:
    verdict = decided(job, asyncio.run(record_decision(job, registry)))
    return Plan(status=finish_status(job, verdict.status, NOW), events=(verdict.event,))


def taken(job: TrainingJob, marks: dict[str, str]) -> TrainingJob:
    return training_job(look(job, marks).status, workers=1, **SPEC)


def condition(status):
    return next((found for found in status["conditions"] if found["type"] == "Approved"), None)


@pytest.mark.parametrize("approval", [None, {}, {"required": False}])
def test_a_version_that_nobody_has_to_approve_gets_its_alias_at_once(approval):
    registry = Registry()

    job = registered(registry, output={"model": "text", "alias": "candidate", "approval": approval})

    assert (job.status.reason, registry.aliases, registry.tags) == ("GatePassed", {"candidate": "7"}, {})
    assert job.status.model.approval is None


def test_a_version_that_a_person_has_to_approve_is_registered_and_waits():
    registry = Registry()

    job = registered(registry)

    status, model = job.status, job.status.model
    assert (status.state, status.reason, status.completion_time) == ("Succeeded", "AwaitingApproval", NOW)
    assert (model.version, model.alias, model.approval.required, model.approval.state) == ("7", None, True, "Awaiting")
    assert (registry.aliases, registry.tags) == ({}, {"headrace.approval": "Awaiting"})
    assert "kubectl headrace approve text -n team-a" in status.message
    assert "alias candidate points at it" not in status.message
    said = {found.type: (found.status, found.reason) for found in status.conditions}
    assert said["Complete"] == ("True", "AwaitingApproval")
    assert said["Approved"] == ("Unknown", "AwaitingApproval")


def test_that_an_alias_is_a_services_own_is_said_before_anybody_decides():
    registry = Registry(owner="team-a/shop", refusal=AliasReserved("alias candidate is the promotion alias of it"))

    job = registered(registry)

    said = "alias candidate stays: it is the promotion alias of ModelService team-a/shop"
    assert job.status.reason == "AwaitingApproval"
    assert said in job.status.message
    off = look(job, enforced=False).status
    again = look(training_job(off, workers=1, **SPEC))
    assert said in again.status["message"]
    approved = tell(taken(training_job(again.status, workers=1, **SPEC), APPROVED), registry).status
    assert (approved["reason"], approved["model"]["approval"]["aliasReservedBy"]) == ("AliasReserved", "team-a/shop")


def test_a_version_that_does_not_pass_its_gates_waits_for_nobody():
    job = registered(Registry(), evaluation={"gates": [{"metric": "acc", "min": "0.9"}]})

    assert (job.status.reason, job.status.model.approval) == ("GateFailed", None)


def test_nothing_happens_while_nobody_has_decided():
    job = registered(Registry())

    planned = look(job, now=NOW + timedelta(days=9))

    assert planned == Plan(status=finish_status(job, job.status, NOW))


@pytest.mark.parametrize(
    "marks",
    [
        {"headrace.dev/approval": "Approved"},
        {"headrace.dev/approval": "Approved", "headrace.dev/approval-by": "  "},
        {"headrace.dev/approval": "yes", "headrace.dev/approval-by": "alice"},
        {"headrace.dev/approval": "Awaiting", "headrace.dev/approval-by": "alice"},
        {"headrace.dev/approval-by": "alice", "headrace.dev/approval-reason": "good"},
    ],
)
def test_what_is_no_whole_decision_is_none(marks):
    job = registered(Registry())

    assert look(job, marks).status == finish_status(job, job.status, NOW)


def test_a_decision_is_in_status_before_anything_is_done():
    job = registered(Registry())

    planned = look(job, REFUSED, NOW + timedelta(seconds=5, microseconds=7))

    approval = {
        "required": True,
        "state": "Refused",
        "by": "bob",
        "at": "2030-01-01T12:00:05Z",
        "reason": "too many blurred pictures",
    }
    assert planned.status["model"]["approval"] == approval
    assert (condition(planned.status)["status"], planned.events) == ("Unknown", ())
    after = training_job(planned.status, workers=1, **SPEC)
    assert (is_awaiting(after.status), is_unrecorded(after.status)) == (False, True)


def test_an_approved_version_is_tagged_and_described_and_gets_the_alias():
    registry = Registry()
    job = taken(registered(registry), APPROVED | {"headrace.dev/approval-reason": "it reads well"})

    planned = tell(job, registry)

    at = "2030-01-01T12:00:00Z"
    assert registry.tags == {
        "headrace.approval": "Approved",
        "headrace.approval.by": "alice",
        "headrace.approval.at": at,
        "headrace.approval.reason": "it reads well",
    }
    assert registry.description == f"Approved by alice at {at}: it reads well"
    assert registry.aliases == {"candidate": "7"}
    assert (planned.status["state"], planned.status["reason"]) == ("Succeeded", "Approved")
    assert planned.status["model"]["alias"] == "candidate"
    assert planned.status["model"]["approval"]["recorded"] is True
    assert (condition(planned.status)["status"], condition(planned.status)["reason"]) == ("True", "Approved")
    message = "approved by alice (it reads well): version 7 of model team-a.text, alias candidate points at it"
    assert [tuple(event) for event in planned.events] == [("Normal", "Approved", message)]


def test_a_refused_version_is_tagged_and_described_and_the_alias_stays():
    registry = Registry(aliases={"candidate": "6"})
    job = taken(registered(registry), REFUSED)

    planned = tell(job, registry)

    assert (registry.tags["headrace.approval"], registry.aliases) == ("Refused", {"candidate": "6"})
    assert registry.description == "Refused by bob at 2030-01-01T12:00:00Z: too many blurred pictures"
    assert (planned.status["state"], planned.status["reason"]) == ("Succeeded", "ApprovalRefused")
    assert "alias" not in planned.status["model"]
    assert (condition(planned.status)["status"], condition(planned.status)["reason"]) == ("False", "ApprovalRefused")
    assert "alias candidate stays where it was" in planned.status["message"]


def test_a_reason_is_text_in_the_versions_description_and_no_markup():
    """MLflow shows Markdown: an image would be fetched by whoever looks at the version."""
    approval = ModelApproval(state="Approved", by="eve_x", reason="![x](http://evil/) <b>*all*</b> of a|b")

    told = paragraph(approval)

    assert told == r"Approved by eve\_x: \!\[x\](http://evil/) &lt;b&gt;\*all\*&lt;/b&gt; of a\|b"
    assert tags_of(approval)["headrace.approval.reason"] == approval.reason


def test_a_decision_is_not_asked_for_where_no_alias_is():
    registry, output = Registry(), {"model": "text", "approval": {"required": True}}
    waits = registered(registry, output=output)
    assert "no alias waits with it, since spec.output.alias is not set" in waits.status.message
    assert "no alias waits" not in registered(registry).status.message
    job = training_job(look(waits, APPROVED).status, workers=1, **SPEC | {"output": output})

    planned = tell(job, registry)

    assert (planned.status["reason"], registry.aliases) == ("Approved", {})
    assert planned.status["message"] == "approved by alice: version 7 of model team-a.text"


def test_the_first_decision_stands():
    registry = Registry()
    job = training_job(tell(taken(registered(registry), APPROVED), registry).status, workers=1, **SPEC)

    planned = look(job, REFUSED)

    assert planned.status == finish_status(job, job.status, NOW)
    assert (planned.patches, is_unrecorded(job.status)) == ((), False)


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (
            Registry(refusal=AliasReserved("alias candidate is the promotion alias of ModelService a/b")),
            "AliasReserved",
        ),
        (Registry(gone=NotFound("version 7 of model team-a.text was deleted")), "TrackingNotFound"),
    ],
)
def test_an_approval_that_moves_no_alias_says_why(registry, reason):
    job = taken(registered(registry), APPROVED)

    planned = tell(job, registry)

    problem = registry.refusal or registry.gone
    assert planned.status["reason"] == reason
    assert str(problem) in planned.status["message"]
    assert "alias" not in planned.status["model"]
    assert [(event.type, event.reason) for event in planned.events] == [("Warning", "Approved")]


def test_an_mlflow_that_is_away_is_tried_again():
    registry = Registry(gone=TrackingUnavailable("away"))
    job = taken(registered(registry), APPROVED)

    with pytest.raises(TrackingUnavailable):
        asyncio.run(record_decision(job, registry))


class TestTimeToLive:
    TTL = timedelta(seconds=60)

    def job(self, registry):
        return registered(registry, ttlSecondsAfterFinished=60)

    def test_does_not_end_a_job_that_waits(self):
        job = self.job(Registry())

        planned = look(job, now=NOW + timedelta(days=365))

        assert (planned.deletes, planned.requeue_after) == ((), None)
        assert "ttlSecondsAfterFinished counts from the decision" in job.status.message

    def test_counts_from_the_decision(self):
        registry, later = Registry(), NOW + timedelta(days=2)
        waits = self.job(registry)
        spec = SPEC | {"ttlSecondsAfterFinished": 60}
        decision = training_job(look(waits, APPROVED, later).status, workers=1, **spec)
        job = training_job(tell(decision, registry).status, workers=1, **spec)

        assert look(job, now=later + timedelta(seconds=59)).deletes == ()
        gone = look(job, now=later + self.TTL).deletes
        assert [(delete.resource, delete.uid) for delete in gone] == [(TRAININGJOBS, UID)]


class TestWithoutThePolicy:
    def test_no_decision_counts_and_what_is_written_is_taken_off(self):
        job = registered(Registry())

        planned = look(job, APPROVED, enforced=False)

        [patch] = planned.patches
        gone = dict.fromkeys([*APPROVED, "headrace.dev/approval-reason"])
        assert (patch.resource, patch.patch["metadata"]) == (TRAININGJOBS, {"uid": UID, "annotations": gone})
        assert planned.status["model"]["approval"] == {"required": True, "state": "Awaiting"}
        assert planned.status["reason"] == "ApprovalNotEnforced"
        assert "admission.enabled=true" in planned.status["message"]
        assert [(event.type, event.reason) for event in planned.events] == [("Warning", "ApprovalNotEnforced")]

    def test_it_waits_again_once_the_policy_is_back(self):
        job = registered(Registry())
        off = training_job(look(job, enforced=False).status, workers=1, **SPEC)

        planned = look(off)

        assert planned.status["reason"] == "AwaitingApproval"
        assert "kubectl headrace approve text -n team-a" in planned.status["message"]
