"""The server's settings: MLflow's own environment variables, with the defaults that a cluster needs.

| variable | default | |
|---|---|---|
| MLFLOW_AUTH_ADMIN_USERNAME | admin | the operator's user |
| MLFLOW_AUTH_ADMIN_PASSWORD | required, 12 characters | a new value here changes the password at the next start |
| MLFLOW_FLASK_SERVER_SECRET_KEY | required | signs the UI's forms |
| MLFLOW_SERVER_ALLOWED_HOSTS | localhost, private addresses | names of the Service and the ingress, with port too |
| MLFLOW_S3_ENDPOINT_URL, AWS_* | none | read-only, to show artifacts in the UI |
| MLFLOW_BACKEND_STORE_URI | sqlite in HEADRACE_MLFLOW_DATA | a Postgres for everything, users and grants too |
| HEADRACE_MLFLOW_AUTH_URI | MLFLOW_BACKEND_STORE_URI | another database for users and grants |
| HEADRACE_MLFLOW_DATA | /data | a volume; nothing is kept there with a MLFLOW_BACKEND_STORE_URI |
| HEADRACE_MLFLOW_DATABASE_SECONDS | 60 | how long a start waits for its database |
| MLFLOW_HOST, MLFLOW_PORT | 0.0.0.0, 5000 | |
| MLFLOW_WORKERS | 1 | processes of about 240 MB each; more than one needs another database than sqlite |
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_mlflow import database

REQUIRED = ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
PASSWORD_LENGTH = 12

# Without the cache every request hashes a password, some 50 ms of CPU. A change of a user empties it in the process
# that makes the change: with one worker it holds at once, with several within the minute.
AUTH_CONFIGURATION = """\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
auth_cache_ttl_seconds = 60
"""

# What no client needs stays off: jobs cost a process each, the gateway calls other hosts on behalf of users.
DEFAULTS = {
    "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
}


class SettingsError(Exception):
    """A setting is missing or wrong; the message says which."""


@dataclass(frozen=True)
class Settings:
    host: str
    port: int
    workers: int
    backend_uri: str
    auth_uri: str
    database_seconds: int
    admin_username: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingsError."""
        missing = [name for name in REQUIRED if not environment.get(name)]
        if missing:
            raise SettingsError(f"{' and '.join(missing)} not set: give them from a Secret")
        if len(environment["MLFLOW_AUTH_ADMIN_PASSWORD"]) < PASSWORD_LENGTH:
            raise SettingsError(f"MLFLOW_AUTH_ADMIN_PASSWORD is shorter than {PASSWORD_LENGTH} characters")
        data = environment.get("HEADRACE_MLFLOW_DATA", "/data")
        backend_uri = _uri(environment, "MLFLOW_BACKEND_STORE_URI")
        auth_uri = _uri(environment, "HEADRACE_MLFLOW_AUTH_URI") or backend_uri
        return cls(
            host=environment.get("MLFLOW_HOST", "0.0.0.0"),
            port=_number(environment, "MLFLOW_PORT", 5000),
            workers=_number(environment, "MLFLOW_WORKERS", 1),
            backend_uri=backend_uri or f"sqlite:///{data}/mlflow.db",
            auth_uri=auth_uri or f"sqlite:///{data}/basic_auth.db",
            database_seconds=_number(environment, "HEADRACE_MLFLOW_DATABASE_SECONDS", 60),
            admin_username=environment.get("MLFLOW_AUTH_ADMIN_USERNAME", DEFAULTS["MLFLOW_AUTH_ADMIN_USERNAME"]),
        )


def auth_configuration(settings: Settings) -> str:
    """MLflow's basic_auth.ini. Names and passwords come from the environment, so nothing secret is in it."""
    # configparser reads % as the start of a reference.
    uri = settings.auth_uri.replace("%", "%%")
    return AUTH_CONFIGURATION.format(uri=uri)


def export(settings: Settings) -> None:
    """Set the process's environment as MLflow reads it, now and in its worker processes. Before MLflow is imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    configuration = Path(tempfile.mkdtemp(prefix="headrace-mlflow-")) / "basic_auth.ini"
    configuration.touch(mode=0o600)  # a database's URI may hold a password
    configuration.write_text(auth_configuration(settings))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(configuration)


def _uri(environment: Mapping[str, str], name: str) -> str:
    """Empty where it is not set."""
    value = environment.get(name, "").strip()
    try:
        return database.complete(value) if value else ""
    except database.DatabaseError as error:
        raise SettingsError(f"{name} {error}") from None


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment.get(name, "") or default)
    except ValueError:
        raise SettingsError(f"{name} is {environment[name]!r}, not a number") from None
