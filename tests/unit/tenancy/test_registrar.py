"""A tenant that is made by somebody who may write less than all of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from headrace.kube.client import KubeClient
from headrace.kube.errors import Forbidden
from headrace.kube.resources import NAMESPACES, Object, Resource
from headrace.tenancy.objects import Addresses, is_of_tenant
from headrace.tenancy.registrar import Registrar
from headrace.tenancy.store import Store
from headrace.tenancy.tenant import Tenant
from headrace.tracking.client import MlflowClient

TENANT = Tenant.of("team-a")
RBAC = "rbac.authorization.k8s.io"


class Cluster:
    """Objects by kind and name, for somebody whose rights to Roles are the administrator's, or none."""

    def __init__(self, *, may_write_roles: bool) -> None:
        self.may_write_roles = may_write_roles
        self.objects: dict[tuple[str, str], Object] = {}

    def _check(self, resource: Resource) -> None:
        if resource.group == RBAC and not self.may_write_roles:
            raise Forbidden(f"{resource.plural} is forbidden", status=403)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        if resource == NAMESPACES:
            return {"metadata": {"name": name}}
        self._check(resource)
        return self.objects.get((resource.kind, name))

    async def apply(self, resource: Resource, obj: Object, *, field_manager: str) -> None:
        self._check(resource)
        self.objects[resource.kind, obj["metadata"]["name"]] = obj | {"metadata": obj["metadata"] | {"uid": "u"}}

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        self._check(resource)
        del self.objects[resource.kind, name]


class Servers:
    """A store and an MLflow that do as they are told."""

    async def ensure_bucket(self, bucket: str, owner: str) -> str:
        return owner

    def __getattr__(self, name: str) -> Any:
        async def done(*_: Any) -> None:
            return None

        return done


def registrar(cluster: Cluster) -> Registrar:
    servers = Servers()
    return Registrar(
        cast(KubeClient, cluster), cast(Store, servers), cast(MlflowClient, servers), Addresses("http://s3", "x"), None
    )


def test_a_tenant_is_whole_but_for_spark_where_roles_may_not_be_written() -> None:
    cluster = Cluster(may_write_roles=False)

    told = asyncio.run(registrar(cluster).add(TENANT))

    assert "type Spark are not available in namespace team-a: roles is forbidden" in told
    names = {name for _, name in cluster.objects}
    assert names == {"headrace-storage", "headrace-storage-read", "headrace-tenant", "trainer", "server"}

    told = asyncio.run(registrar(cluster).remove(TENANT))
    assert "Role and RoleBinding headrace-spark stay" in told
    assert cluster.objects == {}


def test_a_tenant_that_is_added_again_by_somebody_with_the_rights_gets_the_rest() -> None:
    cluster = Cluster(may_write_roles=False)
    asyncio.run(registrar(cluster).add(TENANT))
    cluster.may_write_roles = True

    assert asyncio.run(registrar(cluster).add(TENANT)) == ""

    assert {kind for kind, name in cluster.objects if name == "headrace-spark"} == {
        "Role",
        "RoleBinding",
        "ServiceAccount",
    }
    assert all(is_of_tenant(found, TENANT) for found in cluster.objects.values())
    assert asyncio.run(registrar(cluster).remove(TENANT)) == ""
    assert cluster.objects == {}
