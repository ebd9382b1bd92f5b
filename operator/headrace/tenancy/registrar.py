"""Makes, lists and removes tenants: the store, MLflow and the namespace brought to the same state.

Safe to repeat after a stop at any point: credentials are written into the namespace first and given to the servers
then, so what the Secrets hold is what the next run gives the servers too. `headrace.kube` writes to the cluster.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from headrace.kube.client import KubeClient
from headrace.kube.errors import Forbidden
from headrace.kube.resources import CONFIGMAPS, NAMESPACES, Object, Resource
from headrace.tenancy.errors import BucketTaken, NamespaceMissing, SecretTaken
from headrace.tenancy.objects import (
    FIELD_MANAGER,
    READ_SECRET,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNT_NAMES,
    SERVICE_ACCOUNTS,
    SPARK_ACCOUNT,
    STORAGE_SECRET,
    TENANT_CONFIGMAP,
    TENANT_LABEL,
    Addresses,
    Credentials,
    Login,
    credential_secrets,
    is_of_tenant,
    kept,
    mint,
    service_accounts,
    spark_objects,
    tenant_configmap,
)
from headrace.tenancy.sigv4 import AccessKey
from headrace.tenancy.store import Store
from headrace.tenancy.tenant import Tenant, bucket_policy
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import AlreadyExists, NotFound


@dataclass(frozen=True)
class TenantSummary:
    namespace: str
    bucket: str
    endpoint: str
    mlflow_user: str


class Registrar:
    """`mlflow` is its administrator's client; `viewer` the user with which MLflow's UI reads buckets, or None."""

    def __init__(
        self, kube: KubeClient, store: Store, mlflow: MlflowClient, addresses: Addresses, viewer: AccessKey | None
    ) -> None:
        self._kube = kube
        self._store = store
        self._mlflow = mlflow
        self._addresses = addresses
        self._viewer = viewer

    async def add(self, tenant: Tenant) -> str:
        """Make the tenant, or bring one that exists up to date; credentials that exist are kept. What could not be
        made, and is no reason to fail, is returned as a text.
        """
        return await self._add(tenant, kept(tenant, mint(tenant), *await self._secrets(tenant)))

    async def rotate(self, tenant: Tenant) -> str:
        """As `add`, with new credentials. Pods that run keep the old ones in their environment: start them again."""
        await self._secrets(tenant)
        return await self._add(tenant, mint(tenant))

    async def remove(self, tenant: Tenant) -> str:
        """Take the tenant's users and Secrets away. Its bucket, experiments and models stay. What stays although it
        should not is returned as a text.
        """
        for user in (tenant.writer, tenant.reader):
            await self._store.delete_user(user)
        with suppress(NotFound):
            await self._mlflow.delete_user(tenant.mlflow_user)
        return await remove_objects(self._kube, tenant)

    async def _add(self, tenant: Tenant, credentials: Credentials) -> str:
        for secret in credential_secrets(tenant, credentials):
            await self._apply(SECRETS, secret)
        viewer = [self._viewer] if self._viewer else []
        for key in (credentials.writer, credentials.reader, *viewer):
            await self._store.ensure_user(key)
        owner = await self._store.ensure_bucket(tenant.bucket, tenant.writer)
        if owner != tenant.writer:
            raise BucketTaken(
                f"bucket {tenant.bucket} belongs to {owner}, not to {tenant.writer}: give another one with --bucket"
            )
        await self._store.put_policy(tenant.bucket, bucket_policy(tenant, self._viewer.id if self._viewer else ""))
        await self._ensure_mlflow_user(credentials.mlflow)
        for account in service_accounts(tenant):
            await self._apply_unless_taken(SERVICE_ACCOUNTS, account, tenant)
        # After all else: what the operator reads says that everything is there that a training needs.
        await self._apply(CONFIGMAPS, tenant_configmap(tenant, self._addresses))
        try:
            for resource, wanted in spark_objects(tenant):
                await self._apply_unless_taken(resource, wanted, tenant)
        except Forbidden as error:
            return (
                f"preparations of type Spark are not available in namespace {tenant.namespace}: {error}. Let somebody "
                "repeat this who may write Roles and RoleBindings there, and has the rights to pods that they give"
            )
        return ""

    async def _apply_unless_taken(self, resource: Resource, wanted: Object, tenant: Tenant) -> None:
        """One that somebody made (for workload identity, say) is left as it is."""
        found = await self._kube.get(resource, tenant.namespace, wanted["metadata"]["name"])
        if found is None or is_of_tenant(found, tenant):
            await self._apply(resource, wanted)

    async def _ensure_mlflow_user(self, login: Login) -> None:
        try:
            await self._mlflow.create_user(login.username, login.password)
        except AlreadyExists:
            await self._mlflow.update_password(login.username, login.password)

    async def _secrets(self, tenant: Tenant) -> tuple[Object | None, Object | None]:
        """The tenant's two Secrets as they are. Raises where one is somebody else's."""
        if await self._kube.get(NAMESPACES, None, tenant.namespace) is None:
            raise NamespaceMissing(
                f"namespace {tenant.namespace} does not exist: kubectl create namespace {tenant.namespace}"
            )
        storage = await self._kube.get(SECRETS, tenant.namespace, STORAGE_SECRET)
        read = await self._kube.get(SECRETS, tenant.namespace, READ_SECRET)
        for found in (storage, read):
            if found is not None and not is_of_tenant(found, tenant):
                raise SecretTaken(
                    f"Secret {tenant.namespace}/{found['metadata']['name']} was not written by `headrace tenant` "
                    f"(no label {TENANT_LABEL}={tenant.namespace}): delete it, or label it to have it overwritten"
                )
        return storage, read

    async def _apply(self, resource: Resource, obj: Object) -> None:
        await self._kube.apply(resource, obj, field_manager=FIELD_MANAGER)


async def list_tenants(kube: KubeClient) -> list[TenantSummary]:
    found = await kube.list(CONFIGMAPS, labels=TENANT_LABEL)
    summaries = [
        TenantSummary(
            namespace=entry["metadata"]["namespace"],
            bucket=entry.get("data", {}).get("bucket", ""),
            endpoint=entry.get("data", {}).get("endpoint", ""),
            mlflow_user=entry.get("data", {}).get("mlflowUser", ""),
        )
        for entry in found
        if entry["metadata"]["name"] == TENANT_CONFIGMAP
    ]
    return sorted(summaries, key=lambda entry: entry.namespace)


async def known_tenant(kube: KubeClient, tenant: Tenant) -> Tenant:
    """The tenant with the bucket that an earlier run gave it, if there was one."""
    found = await kube.get(CONFIGMAPS, tenant.namespace, TENANT_CONFIGMAP)
    if found is None or not is_of_tenant(found, tenant):
        return tenant
    return replace(tenant, bucket=found.get("data", {}).get("bucket") or tenant.bucket)


async def remove_objects(kube: KubeClient, tenant: Tenant) -> str:
    """The ConfigMap first: from then on the operator starts nothing new. Whoever may not touch Roles has made none, but
    another one may have.
    """
    names: list[tuple[Resource, str]] = [
        (CONFIGMAPS, TENANT_CONFIGMAP),
        (SECRETS, STORAGE_SECRET),
        (SECRETS, READ_SECRET),
        *((SERVICE_ACCOUNTS, name) for name in (*SERVICE_ACCOUNT_NAMES, SPARK_ACCOUNT)),
    ]
    for resource, name in names:
        await _remove(kube, resource, name, tenant)
    try:
        for resource in (ROLE_BINDINGS, ROLES):
            await _remove(kube, resource, SPARK_ACCOUNT, tenant)
    except Forbidden as error:
        return f"Role and RoleBinding {SPARK_ACCOUNT} stay in namespace {tenant.namespace}, if there are any: {error}"
    return ""


async def _remove(kube: KubeClient, resource: Resource, name: str, tenant: Tenant) -> None:
    found = await kube.get(resource, tenant.namespace, name)
    if found is not None and is_of_tenant(found, tenant):
        await kube.delete(resource, tenant.namespace, name, uid=found["metadata"]["uid"])
