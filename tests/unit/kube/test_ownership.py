"""What is said of an object whose name is needed and that belongs to another owner."""

import pytest

from headrace.kube.ownership import not_ours
from headrace.kube.resources import CONFIGMAPS, JOBS

OWNER = {"kind": "CronJob", "name": "nightly", "uid": "u1", "controller": True}

CASES = {
    "a controller": (
        JOBS,
        {"namespace": "team-a", "name": "text-1", "ownerReferences": [OWNER]},
        "Job team-a/text-1 exists already, and its controller is CronJob nightly (uid u1); Kubernetes removes it if "
        "that one was deleted; delete it (kubectl -n team-a delete jobs text-1), or use another name",
    ),
    "field managers": (
        CONFIGMAPS,
        {"namespace": "team-a", "name": "x", "managedFields": [{"manager": "kubectl-create"}, {"manager": "argocd"}]},
        "ConfigMap team-a/x exists already, and has no controller (field managers: argocd, kubectl-create); delete it "
        "(kubectl -n team-a delete configmaps x), or use another name",
    ),
    "an owner that is no controller": (
        CONFIGMAPS,
        {"namespace": "team-a", "name": "x", "ownerReferences": [OWNER | {"controller": False}]},
        "ConfigMap team-a/x exists already, and has no controller (field managers: none); delete it "
        "(kubectl -n team-a delete configmaps x), or use another name",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_object_of_another_owner_is_named_with_its_owner_and_what_to_do(case):
    kind, metadata, said = CASES[case]

    assert not_ours(kind, {"metadata": metadata}) == said
