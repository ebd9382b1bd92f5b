"""What is read of pods whose labels anybody may have written."""

import pytest

from headrace.training.observed import read_pod
from headrace.training.release import release_objects

RECORD = "headrace.dev/record"


def labelled(attempt, index="0", **metadata):
    return {
        "metadata": {
            "name": "p",
            "namespace": "team-a",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "headrace", "headrace.dev/attempt": attempt},
            "annotations": {"batch.kubernetes.io/job-completion-index": index},
        }
        | metadata
    }


@pytest.mark.parametrize("text", ["two", "", "-1", "1.5", "9" * 5000, "１"])
def test_a_number_that_is_none_belongs_to_no_attempt(text):
    read = read_pod(labelled(text, text))

    assert (read.attempt, read.index) == (0, 0)


def test_uninstalling_lets_go_of_every_held_pod_whatever_its_labels_say():
    pods = [
        labelled("two", "x", name="odd", finalizers=[RECORD, "other.dev/theirs"]),
        labelled("1", name="held", finalizers=[RECORD]),
        labelled("1", name="free", finalizers=["other.dev/theirs"]),
        labelled("1", name="bare"),
    ]

    patches = release_objects(pods)

    assert [(patch.name, patch.patch["metadata"]["finalizers"]) for patch in patches] == [
        ("odd", ["other.dev/theirs"]),
        ("held", []),
    ]
