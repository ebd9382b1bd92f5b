"""Names and rights of tenants: no two tenants share a name, and nobody is allowed more than is written here."""

from itertools import product

import pytest

from headrace.tenancy.errors import BadName
from headrace.tenancy.tenant import Tenant, bucket_policy

# What could be mistaken for each other: everything made of these parts that may be a namespace.
PARTS = ("a", "read", "headrace", "-")
NAMESPACES = [
    name
    for length in (1, 2, 3, 4)
    for name in map("".join, product(PARTS, repeat=length))
    if not name.startswith("-") and not name.endswith("-")
]


def test_no_two_namespaces_share_a_user():
    tenants = [Tenant.of(name, "models") for name in sorted(set(NAMESPACES))]
    store_users = [user for tenant in tenants for user in (tenant.writer, tenant.reader)]
    assert len(tenants) > 100
    assert len(set(store_users)) == len(store_users)
    assert len({tenant.mlflow_user for tenant in tenants}) == len(tenants)


def test_the_bucket_has_the_namespaces_name_unless_another_is_given():
    assert Tenant.of("team-a").bucket == "team-a"
    assert Tenant.of("team-a", "models").bucket == "models"


@pytest.mark.parametrize("namespace", ["", "Team", "team_a", "-team", "team.a", "a" * 64, "team/a"])
def test_what_is_no_namespace_is_refused(namespace):
    with pytest.raises(BadName):
        Tenant.of(namespace, "models")


@pytest.mark.parametrize("bucket", ["ab", "Team", "a/b", "a" * 64])
def test_what_cannot_be_a_bucket_is_refused_with_the_flag_that_helps(bucket):
    with pytest.raises(BadName, match="--bucket"):
        Tenant.of("team-a", bucket)


def test_the_policy_lets_the_writer_write_objects_and_the_readers_read_them_and_nothing_else():
    def allow(principals, actions, resource):
        return {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": actions, "Resource": [resource]}

    writer, readers = ["headrace.team-a"], ["headrace.team-a.read", "headrace-viewer"]
    objects, bucket = "arn:aws:s3:::models/*", "arn:aws:s3:::models"
    assert bucket_policy(Tenant.of("team-a", "models"), viewer="headrace-viewer") == {
        "Version": "2012-10-17",
        "Statement": [
            allow(
                writer,
                [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                objects,
            ),
            allow(writer, ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"], bucket),
            allow(readers, ["s3:GetObject"], objects),
            allow(readers, ["s3:ListBucket", "s3:GetBucketLocation"], bucket),
        ],
    }
