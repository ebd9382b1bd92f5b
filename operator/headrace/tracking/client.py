"""MLflow's REST API, as far as Headrace needs it: one method a call, values in and out, errors as types.

Works on the session of whoever uses it, because the mlflow package blocks and weighs 76 MB. Nothing is retried here
(the work queue looks again later), and nothing is decided here: what makes an act safe to repeat is in `ledger`.
Reference: MLflow's REST API 2.0, and 3.0 for the grants of its basic-auth app.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from headrace.kube.errors import LeaseLost
from headrace.tracking.breaker import Breaker
from headrace.tracking.errors import AlreadyExists, NotFound, TrackingError, TrackingForbidden, TrackingUnavailable
from headrace.tracking.records import (
    Experiment,
    GrantedOn,
    ModelVersion,
    Permission,
    RegisteredModel,
    Run,
    RunStatus,
)
from headrace.tracking.redaction import redacted

CALL_SECONDS = 10.0
CONNECT_SECONDS = 3.0
PAGE_SIZE = 200
REGISTRY_PAGE_SIZE = 1000  # the most that MLflow gives

_ERRORS: dict[int, type[TrackingError]] = {
    401: TrackingForbidden,
    403: TrackingForbidden,
    429: TrackingUnavailable,
}
_CODES: dict[str, type[TrackingError]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "RESOURCE_ALREADY_EXISTS": AlreadyExists,
    "PERMISSION_DENIED": TrackingForbidden,
    "TEMPORARILY_UNAVAILABLE": TrackingUnavailable,
}
_TAG_KEY = re.compile(r"[A-Za-z0-9._-]+")


class MlflowClient:
    """Calls `url` as `username`; without a user name, an MLflow without authentication. Writes ask `may_write` first,
    and raise LeaseLost when the answer is no. While MLflow takes calls and never answers, they are refused at once,
    but for one now and then (see `breaker`).
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        session: aiohttp.ClientSession,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._may_write = may_write
        self._breaker = Breaker()
        self._headers = {}
        if username:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(username, password, "utf-8")

    # -- experiments and runs ------------------------------------------------------------------------------------------

    async def get_experiment_by_name(self, name: str) -> Experiment:
        """NotFound when there is none; one in MLflow's trash is found, as `deleted`."""
        answer = await self._get("experiments/get-by-name", f"experiment {name}", experiment_name=name)
        return Experiment.of(answer["experiment"])

    async def create_experiment(self, name: str, artifact_location: str, tags: Mapping[str, str]) -> str:
        """The new experiment's id; AlreadyExists when the name is taken, in the trash too."""
        body = {"name": name, "artifact_location": artifact_location, "tags": _pairs(tags)}
        answer = await self._post("experiments/create", f"experiment {name}", body)
        return str(answer["experiment_id"])

    async def get_run(self, run_id: str) -> Run:
        """NotFound when there is none; one in MLflow's trash is found, as `deleted`."""
        answer = await self._get("runs/get", f"run {run_id}", run_id=run_id)
        return Run.of(answer["run"])

    async def search_runs(self, experiment_id: str, tag: str, value: str) -> list[Run]:
        """The runs of the experiment that carry the tag with this value, oldest first."""
        return await self._search_runs(experiment_id, tag, value, "ACTIVE_ONLY")

    async def search_all_runs(self, experiment_id: str, tag: str, value: str) -> list[Run]:
        """The same, with those that are in MLflow's trash."""
        return await self._search_runs(experiment_id, tag, value, "ALL")

    async def _search_runs(self, experiment_id: str, tag: str, value: str, view: str) -> list[Run]:
        body = {
            "experiment_ids": [experiment_id],
            "filter": f"tags.`{_key(tag)}` = '{_literal(value)}'",
            "max_results": PAGE_SIZE,
            "order_by": ["attributes.start_time ASC"],
            "run_view_type": view,
        }
        answer = await self._post("runs/search", f"runs of experiment {experiment_id}", body)
        return [Run.of(found) for found in answer.get("runs", [])]

    async def set_tag(self, run_id: str, key: str, value: str) -> None:
        await self._post("runs/set-tag", f"run {run_id}", {"run_id": run_id, "key": key, "value": value})

    async def update_run(self, run_id: str, status: RunStatus, end_time: int | None) -> None:
        """`end_time` in milliseconds since 1970."""
        body: dict[str, Any] = {"run_id": run_id, "status": status.value}
        if end_time is not None:
            body["end_time"] = end_time
        await self._post("runs/update", f"run {run_id}", body)

    # -- the registry --------------------------------------------------------------------------------------------------

    async def create_registered_model(self, name: str, tags: Mapping[str, str]) -> RegisteredModel:
        answer = await self._post("registered-models/create", f"model {name}", {"name": name, "tags": _pairs(tags)})
        return RegisteredModel.of(answer["registered_model"])

    async def get_registered_model(self, name: str) -> RegisteredModel:
        answer = await self._get("registered-models/get", f"model {name}", name=name)
        return RegisteredModel.of(answer["registered_model"])

    async def search_registered_models(self, tag: str) -> list[RegisteredModel]:
        """All models that carry the tag, whatever its value, each with its aliases."""
        query = {"filter": f"tags.`{_key(tag)}` LIKE '%'", "max_results": str(REGISTRY_PAGE_SIZE)}
        found = await self._pages("registered-models/search", "the models", "registered_models", query)
        return [RegisteredModel.of(entry) for entry in found]

    async def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        body = {"name": name, "key": key, "value": value}
        await self._post("registered-models/set-tag", f"model {name}", body)

    async def create_model_version(
        self, name: str, source: str, run_id: str, tags: Mapping[str, str], description: str = ""
    ) -> ModelVersion:
        body = {"name": name, "source": source, "run_id": run_id, "tags": _pairs(tags)}
        body |= {"description": description} if description else {}
        answer = await self._post("model-versions/create", f"a version of model {name}", body)
        return ModelVersion.of(answer["model_version"])

    async def get_model_version(self, name: str, version: str) -> ModelVersion:
        what = f"version {version} of model {name}"
        answer = await self._get("model-versions/get", what, name=name, version=version)
        return ModelVersion.of(answer["model_version"])

    async def search_model_versions(self, name: str, tag: str, value: str) -> list[ModelVersion]:
        """All versions of the model that carry the tag with this value, lowest version first."""
        condition = f"name = '{_literal(name)}' and tags.`{_key(tag)}` = '{_literal(value)}'"
        query = {"filter": condition, "max_results": str(PAGE_SIZE)}
        found = await self._pages("model-versions/search", f"versions of model {name}", "model_versions", query)
        return sorted((ModelVersion.of(entry) for entry in found), key=lambda entry: int(entry.version))

    async def search_versions_of(self, run_id: str, source: str) -> list[ModelVersion]:
        """All versions of all models that were made of this run, or of what lies at `source` or below it."""
        found = []
        for condition in (f"run_id = '{_literal(run_id)}'", f"source_path LIKE '{_literal(source.rstrip('/'))}%'"):
            query = {"filter": condition, "max_results": str(PAGE_SIZE)}
            found += await self._pages("model-versions/search", f"versions of run {run_id}", "model_versions", query)
        return [ModelVersion.of(entry) for entry in found]

    async def count_model_versions(self, name: str) -> int:
        """How many versions the model has; 0 where there is no such model."""
        query = {"filter": f"name = '{_literal(name)}'", "max_results": str(PAGE_SIZE)}
        return len(await self._pages("model-versions/search", f"versions of model {name}", "model_versions", query))

    async def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        body = {"name": name, "version": version, "key": key, "value": value}
        await self._post("model-versions/set-tag", f"version {version} of model {name}", body)

    async def describe_model_version(self, name: str, version: str, description: str) -> None:
        what, body = f"version {version} of model {name}", {"name": name, "version": version}
        path = "2.0/mlflow/model-versions/update"
        await self._call("PATCH", path, what, body=body | {"description": description})

    async def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """NotFound when the model has no such alias, or there is no such model."""
        answer = await self._get("registered-models/alias", f"alias {alias} of model {name}", name=name, alias=alias)
        return ModelVersion.of(answer["model_version"])

    async def get_download_uri(self, name: str, version: str) -> str:
        """Where the version's files lie: its source may be another name for that, such as models:/ID."""
        what = f"version {version} of model {name}"
        answer = await self._get("model-versions/get-download-uri", what, name=name, version=version)
        return str(answer.get("artifact_uri", ""))

    async def set_alias(self, name: str, alias: str, version: str) -> None:
        body = {"name": name, "alias": alias, "version": version}
        await self._post("registered-models/alias", f"alias {alias} of model {name}", body)

    # -- users and grants of the basic-auth app ------------------------------------------------------------------------

    async def grant(self, username: str, granted_on: GrantedOn, resource_id: str, permission: Permission) -> None:
        """`resource_id` is an experiment's id or a model's name. AlreadyExists when the user has a grant on it."""
        body = {
            "username": username,
            "resource_type": granted_on.value,
            "resource_id": resource_id,
            "permission": permission.value,
        }
        what = f"grant of {granted_on} {resource_id} to {username}"
        await self._call("POST", "3.0/mlflow/users/permissions/grant", what, body=body)

    async def current_user(self) -> str:
        """The name that MLflow knows these credentials by; TrackingForbidden when it does not know them."""
        answer = await self._get("users/current", "the current user")
        return str(answer["user"]["username"])

    async def create_user(self, username: str, password: str) -> None:
        await self._post("users/create", f"user {username}", {"username": username, "password": password})

    async def update_password(self, username: str, password: str) -> None:
        body = {"username": username, "password": password}
        await self._call("PATCH", "2.0/mlflow/users/update-password", f"user {username}", body=body)

    async def delete_user(self, username: str) -> None:
        await self._call("DELETE", "2.0/mlflow/users/delete", f"user {username}", body={"username": username})

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def _get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        return await self._call("GET", f"2.0/mlflow/{path}", what, query=query)

    async def _pages(self, path: str, what: str, field: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The entries of `field` of all pages."""
        found: list[dict[str, Any]] = []
        page = ""
        while True:
            answer = await self._get(path, what, **query, **({"page_token": page} if page else {}))
            found += answer.get(field, [])
            page = answer.get("next_page_token", "")
            if not page:
                return found

    async def _post(self, path: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("POST", f"2.0/mlflow/{path}", what, body=body)

    async def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        subject = f"MLflow at {redacted(self.url)}: {method} of {what}"
        # Some questions are asked by POST.
        if method != "GET" and not path.endswith("/search") and not self._may_write():
            raise LeaseLost(f"{subject}: not sent, this process does not hold the lease")
        if not self._breaker.admits():
            raise TrackingUnavailable(
                f"{subject}: not sent, because MLflow does not answer; the connection is tried again every few seconds"
            )
        heard = self._breaker.given_up
        try:
            async with self._session.request(
                method,
                f"{self.url}/api/{path}",
                params=query,
                json=body,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS),
                # A redirect would carry the credentials to wherever it points.
                allow_redirects=False,
            ) as response:
                status, answer = response.status, await response.read()
                heard = self._breaker.answered
                if status != 200 and not _said(answer)[0]:
                    response.close()  # somebody else answered: the next call is to find its own way
        except TimeoutError as error:
            heard = self._breaker.silent
            raise TrackingUnavailable(f"{subject}: no answer within {CALL_SECONDS:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            heard = self._breaker.answered  # it said no, and at once
            raise TrackingUnavailable(f"{subject}: no connection: {error}") from error
        finally:
            heard()
        if status != 200:
            raise _error(subject, status, answer)
        return _parse(subject, answer)


def _parse(subject: str, answer: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(answer)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        begin = redacted(answer[:1000].decode(errors="replace"))[:80]
        raise TrackingUnavailable(f"{subject}: the answer is not MLflow's: is the URL right? It begins {begin!r}")
    return parsed


def _error(subject: str, status: int, answer: bytes) -> TrackingError:
    code, message = _said(answer)
    # What has no code is not MLflow's answer but a proxy's, or another server's at its address: MLflow is away.
    kind = _CODES.get(code) or _ERRORS.get(status) or (TrackingError if code and status < 500 else TrackingUnavailable)
    if status == 400 and re.search(r"\balias\b.*\bnot found\b", message):
        # MLflow calls an alias that does not exist an invalid parameter.
        kind = NotFound
    hint = "" if code or status != 404 else " (not MLflow's answer: is the URL right?)"
    # A database's errors have many lines, a condition's message one. Cut last: half of a URL is not known for one.
    said = redacted(" ".join(message.split()))
    return kind(f"{subject}: {status} {code}: {said[:500]}".rstrip(": ") + hint)


def _said(answer: bytes) -> tuple[str, str]:
    """Code and message of an error; no code where it is not MLflow that answered."""
    try:
        said = json.loads(answer)
        return str(said.get("error_code", "")), str(said.get("message", ""))
    except (ValueError, AttributeError):
        return "", answer.decode(errors="replace").strip()


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _literal(value: str) -> str:
    """MLflow's filter language has no escape for a quote; nothing that Headrace searches for has one."""
    if "'" in value:
        raise ValueError(f"{value!r} cannot be searched for in MLflow: it contains a quote")
    return value


def _key(tag: str) -> str:
    if not _TAG_KEY.fullmatch(tag):
        raise ValueError(f"{tag!r} cannot be searched for in MLflow: not a plain tag name")
    return tag
