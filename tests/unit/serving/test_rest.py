"""When a service is at rest, what is asked then, and what ends it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.modelservice import ModelService, to_status_dict
from headrace.kube.keys import Key
from headrace.kube.resources import CONTROLLERREVISIONS, DEPLOYMENTS, MODELSERVICES
from headrace.serving.observed import Observed, Owned
from headrace.serving.plan import POLL_STEADY, plan
from headrace.serving.rest import REST_LIMIT, Rests, is_at_rest
from headrace.serving.revision import revision_name
from headrace.tracking.aliases import AliasTarget
from serving_builders import NOW, artifact, model_service, serving_pod
from training_builders import SETTINGS

KEY = Key(MODELSERVICES, "team-a", "text")
SLOT = 13.0


# --- when -------------------------------------------------------------------------------------------------------------


class Passes:
    """Passes over a service whose two pods are ready; each plan is carried out at once."""

    def __init__(self, **spec):
        self.service = model_service(**spec)
        revision = revision_name(self.service, artifact(1))
        pods = tuple(serving_pod(f"pod-{index}", revision) for index in range(2))
        self.seen = Observed(artifact(1), None, pods, weights={revision: 100}, route_accepted=True)

    def look(self):
        """One pass; whether it was one of a service at rest."""
        planned = plan(self.service, self.seen, NOW, SETTINGS)
        rests = is_at_rest(self.service, to_status_dict(self.service.status), self.seen, planned)
        made = {o["metadata"]["name"]: o["data"]["template"] for k, o in planned.creates if k == CONTROLLERREVISIONS}
        self.seen = replace(self.seen, templates={**self.seen.templates, **made})
        document = self.service.model_dump(mode="json", by_alias=True) | {"status": planned.status}
        self.service = ModelService.model_validate(document)
        return rests

    def settle(self):
        for _ in range(4):
            self.look()
        return self


def test_a_service_is_at_rest_once_a_pass_finds_nothing_to_do():
    passes = Passes()
    assert [passes.look() for _ in range(3)] == [False, True, True]


def without(service, **changed):
    return service.model_copy(update={"status": service.status.model_copy(update=changed)})


CHANGES = {
    "the model cannot be resolved": lambda p: replace(p.seen, artifact=None, artifact_problem=("Away", "MLflow")),
    "there is a new version": lambda p: replace(p.seen, artifact=artifact(2)),
    "a pod is not ready": lambda p: replace(p.seen, pods=p.seen.pods[:1]),
    "another service has its host and path": lambda p: replace(p.seen, route_conflict="team-b/text"),
    "the gateway says something else": lambda p: replace(p.seen, route_accepted=None),
    "something is left to delete": lambda p: replace(p.seen, owned=(Owned(DEPLOYMENTS, "old", "uid", ""),)),
    "its record is gone": lambda p: replace(p.seen, templates={}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_is_not_at_rest_when(change):
    passes = Passes().settle()
    passes.seen = change(passes)
    assert not passes.look()


def test_it_is_not_at_rest_while_the_registry_is_to_be_told_something():
    promising = {"steps": [], "promotion": {"alias": "champion"}}
    passes = Passes(rollout=promising).settle()
    assert passes.service.status.promotion.pending_version == "1"
    assert not passes.look()

    told = passes.service.status.promotion.model_copy(update={"pending_version": None, "expected_version": "1"})
    passes.service = without(passes.service, promotion=told)
    assert passes.look()


# --- the question -----------------------------------------------------------------------------------------------------


class Aliases:
    """Where the aliases of the registry point."""

    def __init__(self):
        self.target: AliasTarget | None = AliasTarget("1", created=1)
        self.questions = []

    async def find(self, model, alias):
        self.questions.append((model, alias))
        return self.target

    def seconds_to_next(self):
        return SLOT


class Jobs:
    """An API server with one TrainingJob that has brought out a version."""

    def __init__(self):
        self.version = 1

    async def get(self, resource, namespace, name):
        assert (resource.kind, namespace, name) == ("TrainingJob", "team-a", "job")
        if self.version is None:
            return None
        found = artifact(self.version)
        model = {"name": found.model, "version": found.version, "digest": found.digest, "uri": found.uri}
        return {
            "metadata": {"name": "job", "namespace": "team-a", "uid": "u"},
            "spec": {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py"},
            "status": {"state": "Succeeded", "model": model},
        }


class Resting:
    """A service that follows `model`, put to rest while it was at version 1."""

    def __init__(self, **model):
        self.aliases, self.jobs = Aliases(), Jobs()
        self.source = model_service(model=model).spec.model
        self.rests = Rests(self.jobs, self.aliases)
        self.pause = asyncio.run(self.rests.begin(KEY, self.source, artifact(1), NOW))

    def asks(self, after=timedelta(seconds=15)):
        return asyncio.run(self.rests.holds(KEY, NOW + after))


FOLLOWING = {"registry": {"name": "text", "alias": "candidate"}}


def test_a_followed_alias_is_asked_for_once_a_slot_and_nothing_else_is():
    resting = Resting(**FOLLOWING)
    resting.jobs.version = None
    assert (resting.pause, resting.asks(), resting.asks()) == (SLOT, SLOT, SLOT)
    assert resting.aliases.questions == [("team-a.text", "candidate")] * 3


@pytest.mark.parametrize(
    "target",
    [AliasTarget("2", created=1), AliasTarget("1", created=2), None],
    ids=["moved", "of a model made anew", "gone, or MLflow is away"],
)
def test_an_alias_that_points_elsewhere_needs_a_full_pass(target):
    resting = Resting(**FOLLOWING)
    resting.aliases.target = target
    assert resting.asks() is None


def test_an_alias_that_the_common_reading_does_not_know_is_no_rest():
    resting = Resting(**FOLLOWING)
    resting.rests.end(KEY)
    for target in (None, AliasTarget("2", created=1)):
        resting.aliases.target = target
        assert asyncio.run(resting.rests.begin(KEY, resting.source, artifact(1), NOW)) == POLL_STEADY
        assert len(resting.rests) == 0


@pytest.mark.parametrize(
    "model", [{"registry": {"name": "text", "version": "1"}}, {"uri": "s3://team-a/models/1"}], ids=["version", "uri"]
)
def test_what_cannot_move_is_not_asked_for(model):
    resting = Resting(**model)
    resting.jobs.version = None
    assert (resting.pause, resting.asks()) == (POLL_STEADY, POLL_STEADY)
    assert resting.aliases.questions == []


@pytest.mark.parametrize(("version", "pause"), [(1, POLL_STEADY), (2, None), (None, None)])
def test_a_training_job_is_read(version, pause):
    resting = Resting(trainingJob={"name": "job"})
    resting.jobs.version = version
    assert resting.asks() == pause


def test_a_rest_ends_when_it_is_ended_and_at_its_limit():
    resting = Resting(**FOLLOWING)
    assert resting.asks(REST_LIMIT) is None
    assert resting.asks() == SLOT
    resting.rests.end(KEY)
    assert resting.asks() is None
    assert len(resting.rests) == 0
