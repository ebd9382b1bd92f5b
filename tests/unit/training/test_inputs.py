"""What the spec says of a dataset, as the launcher is told of it."""

from pathlib import Path

import pytest

from headrace.api.program import Dataset
from headrace.training.inputs import told, volumes_of
from headrace.training.job import AttemptContext, render_job
from headrace.training.stages import part_of
from headrace_common.protocol import config as protocol
from training_builders import PREPARE, SETTINGS, training_job

AT = Path("/data/d")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"uri": "s3://b/k/"}, protocol.Dataset("d", "s3://b/k/", AT)),
        ({"uri": "az://c/k"}, protocol.Dataset("d", "az://c/k", AT)),
        (
            {"uri": "s3://b/k.tar.gz", "unpack": "Auto"},
            protocol.Dataset("d", "s3://b/k.tar.gz", AT, unpack=protocol.Unpack.AUTO),
        ),
        (
            {"uri": "gs://b/k/", "access": "Stream"},
            protocol.Dataset("d", "gs://b/k/", AT, access=protocol.Access.STREAM),
        ),
        (
            {"uri": "s3://b/k/", "shard": "ByWorker"},
            protocol.Dataset("d", "s3://b/k/", AT, shard=protocol.Shard.BY_WORKER),
        ),
        (
            {"uri": "https://example.org/d.csv", "sha256": "0" * 64},
            protocol.Dataset("d", "https://example.org/d.csv", AT, "sha256:" + "0" * 64),
        ),
        (
            {"persistentVolumeClaim": {"claimName": "images"}},
            protocol.Dataset("d", "pvc://images/", AT, mount=Path("/headrace/data/d")),
        ),
        (
            {"persistentVolumeClaim": {"claimName": "images", "path": "2026/cats/"}},
            protocol.Dataset("d", "pvc://images/2026/cats", AT, mount=Path("/headrace/data/d/2026/cats")),
        ),
        (
            {"image": {"reference": "registry:5000/data/images:1"}},
            protocol.Dataset("d", "oci://registry:5000/data/images:1", AT, mount=Path("/headrace/data/d")),
        ),
    ],
)
def test_each_kind_of_dataset_is_told_by_its_address(spec, expected):
    assert told(Dataset.model_validate({"name": "d", **spec})) == expected


def test_volumes_are_mounted_read_only_and_nothing_else_is():
    specs = (
        {"name": "a", "uri": "s3://b/k/"},
        {"name": "b", "persistentVolumeClaim": {"claimName": "images", "path": "2026"}},
        {"name": "c", "image": {"reference": "registry:5000/data/images:1"}},
    )
    volumes, mounts = zip(*volumes_of(told(Dataset.model_validate(spec)) for spec in specs), strict=True)
    assert volumes == (
        {"name": "dataset-b", "persistentVolumeClaim": {"claimName": "images", "readOnly": True}},
        {"name": "dataset-c", "image": {"reference": "registry:5000/data/images:1"}},
    )
    assert mounts == (
        {"name": "dataset-b", "mountPath": "/headrace/data/b", "readOnly": True},
        {"name": "dataset-c", "mountPath": "/headrace/data/c", "readOnly": True},
    )


@pytest.mark.parametrize("stage", ["train", "prepare"])
def test_the_pods_of_each_stage_mount_what_its_datasets_name(stage):
    datasets = [{"name": "d", "persistentVolumeClaim": {"claimName": "images"}}]
    if stage == "train":
        job = training_job(datasets=datasets)
    else:
        job = training_job(prepare={**PREPARE, "datasets": datasets})
    rendered = render_job(part_of(job), AttemptContext(1, "trainer:1", bucket="team-a"), SETTINGS)
    pod = rendered["spec"]["template"]["spec"]
    assert "dataset-d" in [volume["name"] for volume in pod["volumes"]]
    assert "/headrace/data/d" in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
