"""An example on its way to serving: what is applied, waited for, and said when it does not get there."""

from __future__ import annotations

import asyncio

import pytest

from headrace.gallery.catalogue import example
from headrace.gallery.run import CannotRun, run
from headrace.kube.errors import ApiUnavailable, Conflict, Invalid

DONE = {
    "TrainingJob": {"state": "Succeeded", "model": {"name": "demo.digits", "version": "1"}},
    "ModelService": {"phase": "Stable", "conditions": [{"type": "Ready", "status": "True"}]},
}
RUNNING = {"state": "Running", "reason": "Training"}
FAILED = {"state": "Failed", "reason": "BadConfig", "failure": {"message": "no such file", "hint": "Look there."}}


class Cluster:
    """Keeps what is applied; each look at a TrainingJob takes the next of `looks`, then it is done."""

    def __init__(self, looks=(), refusal=None, before=None, is_tenant=True, bucket="bucket-of-a"):
        self.applied, self._looks, self._refusal = [], list(looks), refusal
        self._before, self._is_tenant, self._bucket = before or {}, is_tenant, bucket

    async def apply(self, resource, wanted, field_manager, force, dry_run):
        if self._refusal is not None:
            raise self._refusal
        if dry_run:
            before = self._before.get(resource.kind, {})
            return {**wanted, **before, "data": {**before.get("data", {}), **wanted.get("data", {})}}
        self.applied.append((resource.kind, wanted["metadata"]["namespace"], wanted["metadata"]["name"], force))
        return wanted

    async def get(self, resource, namespace, name):
        if resource.kind == "ConfigMap":
            found = {"metadata": {"name": name}, "data": {"bucket": self._bucket}}
            is_there = self._is_tenant if name == "headrace-tenant" else name in self._before
            return found if is_there else None
        look = self._looks.pop(0) if resource.kind == "TrainingJob" and self._looks else DONE[resource.kind]
        if isinstance(look, Exception):
            raise look
        return look if look is None else {"metadata": {"name": name}, "status": look}


def go(cluster, seconds=60.0, name="digits"):
    said = []
    services = asyncio.run(
        run(example(name), "team-a", cluster, said.append, seconds=seconds, pause=0.0)  # type: ignore[arg-type]
    )
    return services, said


def test_the_script_is_applied_before_what_runs_it_and_nothing_is_taken_from_others():
    cluster = Cluster()
    [service], _ = go(cluster)
    kinds = ("ConfigMap", "TrainingJob", "ModelService")
    assert cluster.applied == [(kind, "team-a", "digits", False) for kind in kinds]
    assert service["metadata"]["name"] == "digits"


def test_data_that_has_to_be_there_is_named_first_in_the_tenants_bucket():
    _, said = go(Cluster(), name="text-generator")
    assert said[0].startswith("reads s3://bucket-of-a/text-generator/corpus.npz: ")
    assert said[0].endswith("examples/text-generator/README.md says how to make it and put it there")


def test_progress_is_said_once_for_each_change():
    _, said = go(Cluster([RUNNING, RUNNING, RUNNING]))
    assert [line for line in said if "Running" in line] == ["TrainingJob digits: Running Training"]


def test_an_api_server_that_is_away_for_a_moment_ends_nothing():
    _, said = go(Cluster([ApiUnavailable("no connection"), RUNNING]))
    assert "TrainingJob digits: no connection" in said
    assert said[-1].startswith("ModelService digits: Stable")


@pytest.mark.parametrize(
    ("cluster", "seconds", "words"),
    [
        (
            Cluster([FAILED]),
            60,
            "BadConfig no such file. Look there. Look at `kubectl -n team-a describe trainingjob digits`. When it is "
            "mended, `kubectl -n team-a delete trainingjob digits` and run this again",
        ),
        (Cluster([RUNNING] * 3), 0, "was not done in time: Running Training. It goes on"),
        (Cluster([None]), 60, "was deleted while it was waited for"),
        (Cluster(refusal=Conflict("in use")), 60, "somebody else made configmap digits: take another namespace"),
        (Cluster(before={"ConfigMap": {"data": {"a": "b"}}}), 60, "somebody else made configmap digits, which has a"),
        (Cluster(is_tenant=False), 60, "namespace 'team-a' is not a tenant: run `headrace tenant add team-a`"),
        (Cluster(bucket=""), 60, "a ConfigMap headrace-tenant that names no bucket: run `headrace tenant add team-a`"),
        (
            Cluster(refusal=Invalid("immutable"), before={"digits": {}}),
            60,
            "`kubectl -n team-a delete configmap digits` first",
        ),
    ],
)
def test_what_does_not_get_there_ends_with_what_to_do(cluster, seconds, words):
    with pytest.raises(CannotRun) as error:
        go(cluster, seconds)
    assert words in str(error.value)


def test_nothing_is_applied_where_one_object_is_refused():
    cluster = Cluster(before={"ConfigMap": {"data": {"a": "b"}}})
    with pytest.raises(CannotRun):
        go(cluster)
    assert cluster.applied == []


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_a_job_that_has_ended_before_is_said_not_to_run_again(state):
    _, said = go(Cluster(before={"TrainingJob": {"status": {"state": state}}}))
    assert "`kubectl -n team-a delete trainingjob digits` first to train anew" in said[1]
