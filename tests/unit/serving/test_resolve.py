"""What the registry says about the models of a service; it is a stand-in here, the real one is in tests/integration."""

import asyncio
from dataclasses import dataclass, field

import pytest

from headrace.serving.resolve import find_models
from headrace.tracking.errors import NotFound, TrackingUnavailable
from headrace.tracking.records import (
    APPROVAL_TAG,
    EVALUATION_FORMAT_TAG,
    REASON_TAG,
    ROLLOUT_TAG,
    ModelVersion,
)
from headrace_common.tags import DIGEST_TAG, SIGNATURE_TAG
from serving_builders import artifact, model_service, signature

PROMOTES = {"promotion": {"alias": "champion"}}


def version(number, **tags):
    found = artifact(number)
    return ModelVersion(found.model, found.version, found.uri, tags={DIGEST_TAG: found.digest} | tags)


ROLLED_BACK = {ROLLOUT_TAG: "RolledBack", REASON_TAG: "AnalysisFailed"}


@dataclass
class Registry:
    """Where aliases point; `away` names one that cannot be read."""

    aliases: dict[str, ModelVersion] = field(default_factory=dict)
    away: str = ""

    async def resolve(self, model, alias):
        if alias == self.away:
            raise TrackingUnavailable("MLflow does not answer")
        return self.aliases.get(alias)

    async def get_model_version(self, model, number):
        for found in self.aliases.values():
            if found.version == number:
                return found
        raise NotFound(number)


def find(service, registry):
    return asyncio.run(find_models(service, None, registry, registry))


def test_before_anything_is_stable_the_promotion_alias_is_read_too():
    registry = Registry({"candidate": version(8, **ROLLED_BACK), "champion": version(7)})

    found = find(model_service(rollout=PROMOTES), registry)

    assert (found.source, found.promoted) == (artifact(8), artifact(7))
    assert found.rolled_back == {artifact(8): "AnalysisFailed"}


def test_what_was_promoted_is_not_asked_for_once_something_is_stable():
    stable = {"revision": "text-1", "digest": artifact(7).digest}

    found = find(model_service({"stable": stable}, rollout=PROMOTES), Registry({"candidate": version(7)}, "champion"))

    assert (found.source, found.promoted, found.problem) == (artifact(7), None, None)


def test_a_first_revision_waits_while_nobody_can_tell_what_was_promoted():
    found = find(model_service(rollout=PROMOTES), Registry({"candidate": version(8)}, away="champion"))

    assert (found.source, found.promoted) == (None, None)
    assert found.problem[0] == "TrackingUnavailable"


def test_what_was_promoted_is_known_where_the_source_alias_is_gone():
    found = find(model_service(rollout=PROMOTES), Registry({"champion": version(7)}))

    assert (found.source, found.promoted, found.problem[0]) == (None, artifact(7), "AliasNotFound")


@pytest.mark.parametrize("reason", ["", "no word", "x" * 129])
def test_a_reason_that_status_cannot_hold_is_called_rolled_back(reason):
    tags = {ROLLOUT_TAG: "RolledBack", REASON_TAG: reason}

    found = find(
        model_service(model={"registry": {"name": "text", "version": "8"}}), Registry({"a": version(8, **tags)})
    )

    assert found.rolled_back == {artifact(8): "RolledBack"}


@pytest.mark.parametrize("outcome", ["Promoted", "Superseded", ""])
def test_other_outcomes_refuse_nothing(outcome):
    found = find(model_service(), Registry({"candidate": version(8, **{ROLLOUT_TAG: outcome})}))

    assert found.rolled_back == {}


@pytest.mark.parametrize(
    ("tag", "reason"),
    [("Awaiting", "AwaitingApproval"), ("Refused", "ApprovalRefused"), ("Approved", None)],
)
@pytest.mark.parametrize("named", [{"alias": "candidate"}, {"version": "8"}])
def test_a_version_that_is_not_approved_is_not_served_however_it_is_named(tag, reason, named):
    service = model_service(model={"registry": {"name": "text", **named}})
    registry = Registry({"candidate": version(8, **{APPROVAL_TAG: tag})})

    found = find(service, registry)

    assert (found.problem and found.problem[0]) == reason
    assert found.source == (artifact(8) if reason is None else None)


@dataclass
class Cluster:
    """Has one TrainingJob, which made version 8."""

    approval: dict[str, object] | None

    async def get(self, resource, namespace, name):
        made = artifact(8)
        model = {"name": made.model, "version": made.version, "uri": made.uri, "digest": made.digest}
        approval = {} if self.approval is None else {"approval": {"required": True} | self.approval}
        spec = {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py"}
        status = {"state": "Succeeded", "model": model | approval}
        return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("approval", "reason"),
    [
        (None, None),
        ({"state": "Awaiting"}, "AwaitingApproval"),
        ({"state": "Approved"}, "AwaitingApproval"),  # MLflow is not told yet
        ({"state": "Approved", "recorded": True}, None),
        ({"state": "Refused"}, "ApprovalRefused"),
        ({"state": "Refused", "recorded": True}, "ApprovalRefused"),
    ],
)
def test_the_model_of_a_training_job_is_served_once_it_is_approved(approval, reason):
    service = model_service(model={"trainingJob": {"name": "text"}})

    found = asyncio.run(find_models(service, Cluster(approval), None, None))

    assert (found.problem and found.problem[0]) == reason
    assert found.source == (artifact(8) if reason is None else None)


def test_a_training_job_with_a_schedule_has_no_model_of_its_own():
    class Scheduled:
        async def get(self, resource, namespace, name):
            spec = {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "schedule": {"cron": "@daily"}}
            metadata = {"name": name, "namespace": namespace}
            return {"metadata": metadata, "spec": spec, "status": {"state": "Scheduled"}}

    service = model_service(model={"trainingJob": {"name": "text"}})

    found = asyncio.run(find_models(service, Scheduled(), None, None))

    assert found.problem is not None
    assert found.problem[0] == "TrainingJobScheduled"
    assert "use spec.model.registry with an alias" in found.problem[1]


@pytest.mark.parametrize(("tag", "format"), [("ONNX", "ONNX"), ("TensorFlow", "TensorFlow"), ("Pickle", ""), ("", "")])
def test_the_format_that_an_evaluation_has_run_comes_with_the_version(tag, format):
    found = find(model_service(), Registry({"candidate": version(8, **{EVALUATION_FORMAT_TAG: tag})}))

    assert found.source is not None
    assert found.source.judged_format == format


DESCRIBED = signature(4)


@pytest.mark.parametrize(("tag", "known"), [(DESCRIBED, DESCRIBED), ("unknown", ""), ("", ""), ("{}", "")])
def test_inputs_and_outputs_come_with_the_version(tag, known):
    found = find(model_service(), Registry({"candidate": version(8, **{SIGNATURE_TAG: tag})}))

    assert found.source is not None
    assert found.source.signature == known


def test_they_come_with_a_training_job_too_from_the_registry_and_later_from_status():
    service = model_service(model={"trainingJob": {"name": "text"}})
    registry = Registry({"any": version(8, **{SIGNATURE_TAG: DESCRIBED})})

    found = asyncio.run(find_models(service, Cluster(None), None, registry))

    assert found.source is not None
    assert found.source.signature == DESCRIBED
    stable = {"revision": "text-1", "digest": found.source.digest, "model": {"version": "8", "signature": DESCRIBED}}
    served = model_service({"stable": stable}, model={"trainingJob": {"name": "text"}})
    again = asyncio.run(find_models(served, Cluster(None), None, None))
    assert again.source is not None
    assert again.source.signature == DESCRIBED


def test_it_comes_with_a_training_job_too():
    class Evaluated(Cluster):
        async def get(self, resource, namespace, name):
            found = await super().get(resource, namespace, name)
            return found | {"status": found["status"] | {"evaluation": {"format": "TensorFlow"}}}

    service = model_service(model={"trainingJob": {"name": "text"}})

    found = asyncio.run(find_models(service, Evaluated(None), None, None))

    assert found.source is not None
    assert found.source.judged_format == "TensorFlow"


def test_what_a_person_has_aborted_is_refused_as_what_was_rolled_back():
    tags = {ROLLOUT_TAG: "Aborted", REASON_TAG: "Aborted"}

    found = find(model_service(), Registry({"candidate": version(8, **tags)}))

    assert found.rolled_back == {artifact(8): "Aborted"}
