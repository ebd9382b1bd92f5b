"""Where the store and MLflow are and who administers them: flags and environment first, then the chart's Secrets.

Environment variables are those of the operator's Deployment and, for the store, HEADRACE_S3_ACCESS_KEY_ID and
HEADRACE_S3_SECRET_ACCESS_KEY. The chart's Secrets, in the release's namespace: RELEASE-s3 (`accessKeyId`,
`secretAccessKey`), RELEASE-mlflow (`username`, `password`) and, if there is one, RELEASE-s3-viewer (as RELEASE-s3).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.kube.client import KubeClient
from headrace.tenancy.errors import PlatformUnknown
from headrace.tenancy.objects import SECRETS, Addresses, Login, value
from headrace.tenancy.sigv4 import AccessKey

DEFAULT_NAMESPACE = "headrace-system"
DEFAULT_RELEASE = "headrace"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Where:
    """What a caller knows; empty: as in the chart. URLs are as this process reaches them, `s3_endpoint` as pods do."""

    namespace: str = DEFAULT_NAMESPACE
    release: str = DEFAULT_RELEASE
    s3_endpoint: str = ""
    s3_url: str = ""
    mlflow_url: str = ""
    region: str = ""


@dataclass(frozen=True)
class Platform:
    addresses: Addresses
    s3_url: str
    s3_root: AccessKey
    s3_viewer: AccessKey | None
    mlflow_url: str
    mlflow_admin: Login


async def find_platform(kube: KubeClient, where: Where, environment: Mapping[str, str]) -> Platform:
    """Raises PlatformUnknown when credentials are neither in the environment nor in the chart's Secrets."""
    endpoint = (
        where.s3_endpoint
        or environment.get("HEADRACE_S3_ENDPOINT")
        or f"http://{where.release}-s3.{where.namespace}.svc:7070"
    )
    mlflow_url = (
        where.mlflow_url
        or environment.get("HEADRACE_MLFLOW_URL")
        or f"http://{where.release}-mlflow.{where.namespace}.svc:5000"
    )
    s3_id, s3_secret = await _pair(
        kube,
        where,
        environment,
        ("HEADRACE_S3_ACCESS_KEY_ID", "HEADRACE_S3_SECRET_ACCESS_KEY"),
        f"{where.release}-s3",
        ("accessKeyId", "secretAccessKey"),
    )
    username, password = await _pair(
        kube,
        where,
        environment,
        ("HEADRACE_MLFLOW_USERNAME", "HEADRACE_MLFLOW_PASSWORD"),
        f"{where.release}-mlflow",
        ("username", "password"),
    )
    viewer = await kube.get(SECRETS, where.namespace, f"{where.release}-s3-viewer")
    return Platform(
        addresses=Addresses(endpoint, where.region or environment.get("HEADRACE_S3_REGION") or DEFAULT_REGION),
        s3_url=where.s3_url or endpoint,
        s3_root=AccessKey(s3_id, s3_secret),
        s3_viewer=AccessKey(value(viewer, "accessKeyId"), value(viewer, "secretAccessKey")) if viewer else None,
        mlflow_url=mlflow_url,
        mlflow_admin=Login(username, password),
    )


async def _pair(
    kube: KubeClient,
    where: Where,
    environment: Mapping[str, str],
    variables: tuple[str, str],
    secret: str,
    keys: tuple[str, str],
) -> tuple[str, str]:
    """A name and its secret, both from the environment or both from the Secret."""
    first, second = (environment.get(variable, "") for variable in variables)
    if first and second:
        return first, second
    found = await kube.get(SECRETS, where.namespace, secret)
    first, second = (value(found, key) for key in keys)
    if first and second:
        return first, second
    raise PlatformUnknown(
        f"no administrator's credentials: set {variables[0]} and {variables[1]}, or name with --system-namespace and "
        f"--release the chart's; Secret {where.namespace}/{secret} does not hold {keys[0]} and {keys[1]}"
    )
