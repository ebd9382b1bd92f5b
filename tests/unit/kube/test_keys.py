import pytest

from headrace.kube.keys import Key, parent_of
from headrace.kube.resources import JOBS, MODELSERVICES, PODS, TRAININGJOBS

PARENT = parent_of(
    {TRAININGJOBS: "headrace.dev/training-job", MODELSERVICES: "headrace.dev/model-service"},
    {"headrace.dev/schedule": TRAININGJOBS},
)


def obj(labels=None, **reference):
    metadata = {"namespace": "team-a", "name": "x", "labels": labels or {}}
    if reference:
        metadata["ownerReferences"] = [{"name": "owner", "uid": "1", "controller": True} | reference]
    return {"metadata": metadata}


@pytest.mark.parametrize(
    ("resource", "given", "key"),
    [
        (TRAININGJOBS, obj(), Key(TRAININGJOBS, "team-a", "x")),
        (JOBS, obj(apiVersion="headrace.dev/v1alpha1", kind="TrainingJob"), Key(TRAININGJOBS, "team-a", "owner")),
        # Another version of our group is served one day: still ours.
        (JOBS, obj(apiVersion="headrace.dev/v1", kind="TrainingJob"), Key(TRAININGJOBS, "team-a", "owner")),
        (JOBS, obj(apiVersion="kubeflow.org/v1", kind="TrainingJob"), None),
        (JOBS, obj(apiVersion="headrace.dev/v1alpha1", kind="TrainingJob", controller=False), None),
        (
            PODS,
            obj({"headrace.dev/model-service": "text"}, apiVersion="apps/v1", kind="ReplicaSet"),
            Key(MODELSERVICES, "team-a", "text"),
        ),
        (PODS, obj({"app": "else"}, apiVersion="apps/v1", kind="ReplicaSet"), None),
        (
            JOBS,
            obj({"headrace.dev/schedule": "text"}, apiVersion="batch/v1", kind="CronJob"),
            Key(TRAININGJOBS, "team-a", "text"),
        ),
        # A training of a schedule is looked at by itself.
        (TRAININGJOBS, obj({"headrace.dev/schedule": "text"}), Key(TRAININGJOBS, "team-a", "x")),
        (PODS, obj(), None),
    ],
    ids=[
        "itself",
        "controller",
        "controller-other-version",
        "foreign-group",
        "owner-but-not-controller",
        "label",
        "foreign-label",
        "another-label",
        "a-training-of-a-schedule",
        "nothing",
    ],
)
def test_an_object_leads_to_the_key_of_its_resource(resource, given, key):
    assert PARENT(resource, given) == key


def test_a_key_reads_as_kind_and_name():
    assert str(Key(TRAININGJOBS, "team-a", "x")) == "TrainingJob team-a/x"
