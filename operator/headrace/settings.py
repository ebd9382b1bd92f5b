"""What the installation tells the operator, read once from the environment that the chart sets, and the files it names.

The only module that reads environment variables; everything else gets a `Settings`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from headrace.api.scalars import parse_duration
from headrace.rollout.propagation import THROTTLE
from headrace.serving.runtimes.table import Runtimes, RuntimesError, Table, parse_runtimes

log = logging.getLogger(__name__)


class SettingsError(Exception):
    """A variable is missing or cannot be understood; the message names it."""


@dataclass(frozen=True)
class StorageSettings:
    """The S3 store as pods see it. `endpoint` is empty for AWS' own."""

    endpoint: str
    region: str


@dataclass(frozen=True)
class TrackingSettings:
    """The MLflow server: `url` inside the cluster, `public_url` for a person's browser."""

    url: str
    public_url: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """One operator's configuration. `namespaces` empty means all of them."""

    operator_namespace: str
    namespaces: tuple[str, ...]
    trainer_image: str
    image_pull_policy: str
    storage: StorageSettings | None
    tracking: TrackingSettings | None
    health_port: int
    trainer_gpu_image: str = ""  # empty: the trainer image, also for jobs with GPUs
    spark_image: str = ""
    loader_image: str = ""
    explainer_image: str = ""
    runtimes: Runtimes = field(default_factory=dict)  # the servers that there are
    refused_runtimes: Mapping[str, str] = field(default_factory=dict)  # why others cannot be used, by name
    gateway_metrics_url: str = ""
    network_policies: bool = True
    gateway_throttle: timedelta = THROTTLE
    serving_policies: bool = True
    model_clients: Mapping[str, str] = field(default_factory=dict)  # labels of namespaces that may reach models
    image_pull_secrets: tuple[str, ...] = ()  # names of Secrets in each namespace, for the pods that are made there
    approvals_enforced: bool = False  # the chart's policies are there: who writes an approval has the right to
    package_index_url: str = ""  # for requirements.txt; empty: PyPI

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> Settings:
        """Read the `HEADRACE_*` variables. Raises SettingsError."""
        missing = [name for name in ("HEADRACE_OPERATOR_NAMESPACE", "HEADRACE_TRAINER_IMAGE") if not env.get(name)]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set; the chart does it")
        storage = None
        if env.get("HEADRACE_S3_ENDPOINT") or env.get("HEADRACE_S3_REGION"):
            storage = StorageSettings(env.get("HEADRACE_S3_ENDPOINT", ""), env.get("HEADRACE_S3_REGION", "us-east-1"))
        tracking = None
        for name in (
            "HEADRACE_MLFLOW_URL",
            "HEADRACE_MLFLOW_PUBLIC_URL",
            "HEADRACE_S3_ENDPOINT",
            "HEADRACE_PACKAGE_INDEX_URL",
        ):
            _has_no_credentials(env, name)
        if url := env.get("HEADRACE_MLFLOW_URL"):
            tracking = TrackingSettings(
                url=url.rstrip("/"),
                public_url=env.get("HEADRACE_MLFLOW_PUBLIC_URL", "").rstrip("/") or url.rstrip("/"),
                username=env.get("HEADRACE_MLFLOW_USERNAME", ""),
                password=env.get("HEADRACE_MLFLOW_PASSWORD", ""),
            )
        port = env.get("HEADRACE_HEALTH_PORT", "8080")
        if not port.isdigit():
            raise SettingsError(f"HEADRACE_HEALTH_PORT must be a port number, not {port!r}")
        try:
            throttle = parse_duration(env.get("HEADRACE_GATEWAY_THROTTLE") or THROTTLE)
        except ValueError as error:
            raise SettingsError(f"HEADRACE_GATEWAY_THROTTLE: {error}") from error
        table = _runtimes(env.get("HEADRACE_SERVING_RUNTIMES", ""))
        return Settings(
            operator_namespace=env["HEADRACE_OPERATOR_NAMESPACE"],
            namespaces=namespaces(env),
            trainer_image=env["HEADRACE_TRAINER_IMAGE"],
            image_pull_policy=env.get("HEADRACE_IMAGE_PULL_POLICY", "IfNotPresent"),
            storage=storage,
            tracking=tracking,
            health_port=int(port),
            trainer_gpu_image=env.get("HEADRACE_TRAINER_GPU_IMAGE", ""),
            spark_image=env.get("HEADRACE_SPARK_IMAGE", ""),
            loader_image=env.get("HEADRACE_LOADER_IMAGE", ""),
            explainer_image=env.get("HEADRACE_EXPLAINER_IMAGE", ""),
            runtimes=table.runtimes,
            refused_runtimes=table.refused,
            gateway_metrics_url=env.get("HEADRACE_GATEWAY_METRICS_URL", ""),
            network_policies=env.get("HEADRACE_NETWORK_POLICIES", "true") == "true",
            gateway_throttle=throttle,
            serving_policies=env.get("HEADRACE_SERVING_POLICIES", "true") == "true",
            model_clients=_labels(env, "HEADRACE_MODEL_CLIENTS"),
            image_pull_secrets=_names(env.get("HEADRACE_IMAGE_PULL_SECRETS", "")),
            approvals_enforced=env.get("HEADRACE_APPROVALS_ENFORCED", "") == "true",
            package_index_url=env.get("HEADRACE_PACKAGE_INDEX_URL", ""),
        )


def namespaces(env: Mapping[str, str]) -> tuple[str, ...]:
    """The namespaces that are served; none given: all of them."""
    return _names(env.get("HEADRACE_NAMESPACES", ""))


def _runtimes(path: str) -> Table:
    """Of a file, since it is a table; no path: no server, and no ModelService is served."""
    if not path:
        return Table({}, {})
    try:
        table = parse_runtimes(Path(path).read_bytes())
    except (OSError, RuntimesError) as error:
        raise SettingsError(f"HEADRACE_SERVING_RUNTIMES: {error}") from error
    for name, fault in table.refused.items():
        log.error("runtime %s is set aside, and no service can have it: %s", name, fault)
    return table


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _has_no_credentials(env: Mapping[str, str], name: str) -> None:
    """URLs reach pods, statuses and Events, which tenants may read."""
    if "@" in urlsplit(env.get(name, "")).netloc:
        raise SettingsError(f"{name} has a user or a password in it: credentials belong into a Secret")


def _labels(env: Mapping[str, str], name: str) -> dict[str, str]:
    """KEY=VALUE, comma-separated."""
    pairs = [text.strip().partition("=") for text in env.get(name, "").split(",") if text.strip()]
    if any(not key or not equals for key, equals, _ in pairs):
        raise SettingsError(f"{name} must be labels such as key=value,key=value, not {env[name]!r}")
    return {key: value for key, _, value in pairs}
