"""What is written into a tenant's namespace, and what of it is kept by the next run."""

import base64

from headrace.tenancy.objects import (
    Addresses,
    credential_secrets,
    kept,
    mint,
    spark_objects,
    spark_role,
    spark_role_binding,
    tenant_configmap,
)
from headrace.tenancy.tenant import Tenant

TENANT = Tenant.of("team-a")


def test_credentials_that_the_secrets_hold_are_kept():
    first = mint(TENANT)
    storage, read = credential_secrets(TENANT, first)
    assert kept(TENANT, mint(TENANT), storage, read) == first


def test_what_is_missing_is_minted_and_the_rest_kept():
    first, second = mint(TENANT), mint(TENANT)
    storage, read = credential_secrets(TENANT, first)
    del storage["data"]["MLFLOW_TRACKING_PASSWORD"]
    found = kept(TENANT, second, storage, None)
    assert (found.writer, found.reader, found.mlflow) == (first.writer, second.reader, second.mlflow)
    assert kept(TENANT, second, None, read).reader == first.reader


def test_credentials_of_another_user_are_not_kept():
    storage, read = credential_secrets(Tenant.of("team-b"), mint(Tenant.of("team-b")))
    minted = mint(TENANT)
    assert kept(TENANT, minted, storage, read) == minted


def test_every_secret_is_random_and_none_shows_in_a_repr():
    one, other = mint(TENANT), mint(TENANT)
    secrets = [secret for each in (one, other) for secret in (each.writer.secret, each.reader.secret)]
    secrets += [one.mlflow.password, other.mlflow.password]
    assert len(set(secrets)) == 6
    assert min(map(len, secrets)) >= 40
    assert not [secret for secret in secrets if secret in repr(one) + repr(other)]


def test_the_configmap_holds_addresses_and_nothing_secret():
    assert tenant_configmap(TENANT, Addresses("http://s3:7070", "us-east-1")) == {
        "metadata": {"namespace": "team-a", "name": "headrace-tenant", "labels": {"headrace.dev/tenant": "team-a"}},
        "data": {
            "bucket": "team-a",
            "endpoint": "http://s3:7070",
            "region": "us-east-1",
            "mlflowUser": "headrace.team-a",
        },
    }


def test_the_secrets_have_the_names_that_boto_and_mlflow_read():
    storage, read = credential_secrets(TENANT, mint(TENANT))
    assert (storage["metadata"]["name"], read["metadata"]["name"]) == ("headrace-storage", "headrace-storage-read")
    decoded = {key: base64.b64decode(text).decode() for key, text in storage["data"].items()}
    assert (decoded["AWS_ACCESS_KEY_ID"], decoded["MLFLOW_TRACKING_USERNAME"]) == ("headrace.team-a", "headrace.team-a")
    assert set(read["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_drivers_of_spark_have_an_account_that_may_make_pods_and_nothing_else():
    kinds = {resource.kind: obj["metadata"]["name"] for resource, obj in spark_objects(TENANT)}
    assert kinds == dict.fromkeys(("Role", "RoleBinding", "ServiceAccount"), "headrace-spark")
    [rule] = spark_role(TENANT)["rules"]
    assert (rule["apiGroups"], rule["resources"]) == ([""], ["pods"])
    assert set(rule["verbs"]) == {"create", "delete", "deletecollection", "get", "list", "watch"}
    binding = spark_role_binding(TENANT)
    assert binding["roleRef"]["name"] == spark_role(TENANT)["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "headrace-spark", "namespace": "team-a"}]
