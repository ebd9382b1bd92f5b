"""The Kubernetes objects of a tenant, and what can be read back out of them. Pure."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.api import spark
from headrace.kube.resources import Object, Resource
from headrace.tenancy.sigv4 import AccessKey
from headrace.tenancy.tenant import Tenant

SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")

STORAGE_SECRET = "headrace-storage"
READ_SECRET = "headrace-storage-read"
TENANT_CONFIGMAP = "headrace-tenant"
# For pods that name one of them: they need nothing of the API server.
SERVICE_ACCOUNT_NAMES = ("trainer", "server")
# For drivers of Spark, which make the pods of their executors. Its Role and RoleBinding are called so, too.
SPARK_ACCOUNT = spark.SERVICE_ACCOUNT
# All that a driver asks for in client mode: it looks at its own pod, and makes, follows and deletes those of executors.
_DRIVERS_VERBS = ("create", "delete", "deletecollection", "get", "list", "watch")

TENANT_LABEL = "headrace.dev/tenant"
FIELD_MANAGER = "headrace-tenancy"

_ID, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_SECRET_BYTES = 30


@dataclass(frozen=True)
class Login:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    """All that a tenant's pods prove themselves with."""

    writer: AccessKey
    reader: AccessKey
    mlflow: Login


@dataclass(frozen=True)
class Addresses:
    """How pods reach the store; `endpoint` is empty for AWS' own."""

    endpoint: str
    region: str


def mint(tenant: Tenant) -> Credentials:
    """New random credentials."""
    return Credentials(
        AccessKey(tenant.writer, secrets.token_urlsafe(_SECRET_BYTES)),
        AccessKey(tenant.reader, secrets.token_urlsafe(_SECRET_BYTES)),
        Login(tenant.mlflow_user, secrets.token_urlsafe(_SECRET_BYTES)),
    )


def kept(tenant: Tenant, minted: Credentials, storage: Object | None, read: Object | None) -> Credentials:
    """The credentials that the Secrets hold, with `minted` ones where they hold none for this tenant."""
    return Credentials(
        AccessKey(tenant.writer, _secret_of(storage, _ID, tenant.writer, _SECRET) or minted.writer.secret),
        AccessKey(tenant.reader, _secret_of(read, _ID, tenant.reader, _SECRET) or minted.reader.secret),
        Login(tenant.mlflow_user, _secret_of(storage, _USER, tenant.mlflow_user, _PASSWORD) or minted.mlflow.password),
    )


def credential_secrets(tenant: Tenant, credentials: Credentials) -> list[Object]:
    storage = {
        _ID: credentials.writer.id,
        _SECRET: credentials.writer.secret,
        _USER: credentials.mlflow.username,
        _PASSWORD: credentials.mlflow.password,
    }
    read = {_ID: credentials.reader.id, _SECRET: credentials.reader.secret}
    return [_secret(tenant, STORAGE_SECRET, storage), _secret(tenant, READ_SECRET, read)]


def tenant_configmap(tenant: Tenant, addresses: Addresses) -> Object:
    """What the operator reads: nothing secret."""
    return {
        "metadata": _metadata(tenant, TENANT_CONFIGMAP),
        "data": {
            "bucket": tenant.bucket,
            "endpoint": addresses.endpoint,
            "region": addresses.region,
            "mlflowUser": tenant.mlflow_user,
        },
    }


def service_accounts(tenant: Tenant) -> list[Object]:
    return [_service_account(tenant, name) for name in SERVICE_ACCOUNT_NAMES]


def spark_objects(tenant: Tenant) -> list[tuple[Resource, Object]]:
    """What a driver needs to make pods, the account last: it is what a job finds or misses."""
    return [
        (ROLES, spark_role(tenant)),
        (ROLE_BINDINGS, spark_role_binding(tenant)),
        (SERVICE_ACCOUNTS, _service_account(tenant, SPARK_ACCOUNT)),
    ]


def spark_role(tenant: Tenant) -> Object:
    """What a driver may do in the tenant's namespace: pods, and nothing else."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": list(_DRIVERS_VERBS)}
    return {"metadata": _metadata(tenant, SPARK_ACCOUNT), "rules": [rule]}


def spark_role_binding(tenant: Tenant) -> Object:
    """That it may."""
    account = {"kind": "ServiceAccount", "name": SPARK_ACCOUNT, "namespace": tenant.namespace}
    role = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": SPARK_ACCOUNT}
    return {"metadata": _metadata(tenant, SPARK_ACCOUNT), "subjects": [account], "roleRef": role}


def is_of_tenant(found: Object, tenant: Tenant) -> bool:
    """Whether `headrace tenant` wrote this object."""
    labels: Mapping[str, str] = found["metadata"].get("labels") or {}
    return labels.get(TENANT_LABEL) == tenant.namespace


def value(found: Object | None, key: str) -> str:
    """The text under `key` of a Secret, or an empty string."""
    encoded = ((found or {}).get("data") or {}).get(key, "")
    return base64.b64decode(encoded).decode()


def _service_account(tenant: Tenant, name: str) -> Object:
    return {"metadata": _metadata(tenant, name), "automountServiceAccountToken": False}


def _secret_of(found: Object | None, name_key: str, name: str, secret_key: str) -> str:
    return value(found, secret_key) if value(found, name_key) == name else ""


def _secret(tenant: Tenant, name: str, values: Mapping[str, str]) -> Object:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {"metadata": _metadata(tenant, name), "type": "Opaque", "data": data}


def _metadata(tenant: Tenant, name: str) -> dict[str, object]:
    return {"namespace": tenant.namespace, "name": name, "labels": {TENANT_LABEL: tenant.namespace}}
